"""Scene graphs by rule: what captions of known structure become, and what HanTa makes of real ones."""

import pytest

from itm_harness.benchmarks.preparing.rule_graphs import RuleParser, graph_of

TAGS = {
    "a": "AT0", "the": "AT0", "two": "CRD", "his": "DPS", "is": "VBZ", "are": "VBB", "red": "AJ0", "black": "AJ0",
    "white": "AJ0", "dotted": "VVN", "very": "AV0", "large": "AJ0", "dog": "NN1", "dogs": "NN2", "man": "NN1",
    "tennis": "NN1", "ball": "NN1", "beach": "NN1", "grass": "NN1", "left": "NN1", "hat": "NN1", "runs": "VVZ",
    "riding": "VVG", "wearing": "VVG", "holds": "VVZ", "on": "PRP", "of": "PRF", "to": "PRP", "near": "PRP",
    "with": "PRP", "and": "CJC", "while": "CJS", "who": "PNQ", "it": "PNP", "there": "EX0", ",": "PUN", ".": "PUN",
    "'s": "POS", "next": "AV0", "not": "XX0", "can": "VM0", "up": "AVP",
}  # fmt: skip
LEMMAS = {"is": "be", "are": "be", "dogs": "dog", "runs": "run", "riding": "ride", "wearing": "wear", "holds": "hold"}


def read(caption):
    """Entities as "attributes name", relations as (subject, relation, object) by name."""
    graph = graph_of([(word, LEMMAS.get(word, word), TAGS[word]) for word in caption.split()])
    names = [entity["name"] for entity in graph["entities"]]
    entities = [" ".join([*entity["attributes"], entity["name"]]) for entity in graph["entities"]]
    return entities, [(names[r["subject"]], r["relation"], names[r["object"]]) for r in graph["relations"]]


@pytest.mark.parametrize(
    ("caption", "entities", "relations"),
    [
        ("two dogs", ["dog"], []),
        ("a very large black and white , red dog", ["large black white red dog"], []),
        ("a dotted ball", ["dotted ball"], []),
        ("a man holds a tennis ball", ["man", "tennis ball"], [("man", "hold", "tennis ball")]),
        ("the dog is red", ["red dog"], []),
        ("a man with a red hat is riding a dog near the beach .", ["man", "red hat", "dog", "beach"],
         [("man", "with", "hat"), ("man", "ride", "dog"), ("dog", "near", "beach")]),
        ("a dog wearing a hat", ["dog", "hat"], [("dog", "wear", "hat")]),
        ("a man near a dog wearing a hat", ["man", "dog", "hat"], [("man", "near", "dog"), ("dog", "wear", "hat")]),
        ("the dog is to the left of a man", ["dog", "man"], [("dog", "be to left of", "man")]),
        ("a dog is next to the man", ["dog", "man"], [("dog", "be next to", "man")]),
        ("a man 's hat", ["man", "hat"], [("man", "have", "hat")]),
        ("a man and a dog", ["man", "dog"], []),
        ("a man near a dog who holds a ball", ["man", "dog", "ball"],
         [("man", "near", "dog"), ("dog", "hold", "ball")]),
        ("a man holds a hat while a dog runs on grass", ["man", "hat", "dog", "grass"],
         [("man", "hold", "hat"), ("dog", "run on", "grass")]),
        ("there are two dogs on the grass . the man holds it .", ["dog", "grass", "man"], [("dog", "on", "grass")]),
        ("a dog can not runs up the grass", ["dog", "grass"], [("dog", "run up", "grass")]),
        ("on the", [], []),
    ],
)  # fmt: skip
def test_noun_phrases_and_what_stands_between_them(caption, entities, relations):
    assert read(caption) == (entities, relations)


def test_the_words_of_a_caption_are_tagged_with_hantas_own_model():
    parser = RuleParser()
    parser.require()
    (graph,) = parser.graphs(["A young man in a red shirt rides two brown horses ."])
    assert graph["entities"] == [
        {"name": "man", "attributes": ["young"]},
        {"name": "shirt", "attributes": ["red"]},
        {"name": "horse", "attributes": ["brown"]},
    ]
    assert [(r["subject"], r["relation"], r["object"]) for r in graph["relations"]] == [(0, "in", 1), (0, "ride", 2)]
    assert set(parser.libraries) == {"hanta"}
    assert len(parser.state) == 16
