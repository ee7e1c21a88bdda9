"""Scene graphs: known answers, and files that are of something else."""

import json

import numpy as np
import pytest

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.text.graphs import SLOTS, Graph, read_graphs, relation_matrices, relation_numbers

CAPTIONS = ["A black and white dog chases a cat", "Rain ."]
DOG = {
    "caption": CAPTIONS[0],
    "entities": [{"name": "dog", "attributes": ["black", "white"]}, {"name": "cat", "attributes": []}],
    "relations": [{"subject": 0, "relation": "chase", "object": 1}],
}
RAIN = {"entities": [], "relations": []}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "train_graphs.json"


def read(path, *graphs):
    path.write_text(json.dumps(graphs))
    return read_graphs(path, CAPTIONS)


def test_entities_become_texts_as_vssr_writes_them(path):
    assert read(path, DOG, RAIN) == [Graph(("dog is black white", "cat"), ((0, "chase", 1),)), Graph((), ())]


def test_entities_beyond_the_slots_go_with_their_relations(path):
    names = [{"name": f"thing {i}", "attributes": []} for i in range(SLOTS + 2)]
    pairs = [(0, SLOTS), (SLOTS + 1, 1), (SLOTS - 1, 2)]
    relations = [{"subject": s, "relation": "on", "object": o} for s, o in pairs]
    graph, _ = read(path, {"entities": names, "relations": relations}, RAIN)
    assert len(graph.entities) == SLOTS
    assert graph.relations == ((SLOTS - 1, "on", 2),)


def test_relations_are_numbered_from_1_and_the_first_of_two_counts():
    graphs = [
        Graph(("a", "b", "c"), ((0, "on", 1), (0, "near", 1), (2, "hold", 0))),
        Graph((), ()),
        Graph(("a", "b"), ((1, "never seen", 0),)),
    ]
    numbers = relation_numbers(graphs[:2])
    assert numbers == {"hold": 1, "near": 2, "on": 3}
    matrices = relation_matrices(graphs, numbers)
    assert matrices.shape == (3, SLOTS, SLOTS)
    assert {tuple(i): int(matrices[tuple(i)]) for i in np.argwhere(matrices).tolist()} == {
        (0, 0, 1): 3,
        (0, 2, 0): 1,
        (2, 1, 0): 4,
    }


@pytest.mark.parametrize(
    ("graphs", "words"),
    [
        ([DOG], "holds 1 graphs for 2 captions"),
        ([RAIN, DOG], r"graph 1, is of 'A black and white dog chases a cat', not of caption 1, 'Rain \.'"),
        ([{"entities": []}, RAIN], "relations"),
        ([{"entities": [{"head": "dog"}], "relations": []}, RAIN], "name"),
        ([{**DOG, "relations": [{"subject": 0, "relation": "on", "object": 2}]}, RAIN], "beyond its 2 entities"),
        ([1, 2], "does not hold a JSON list of scene graphs"),
    ],
)
def test_a_file_of_something_else_is_one_sentence(path, graphs, words):
    with pytest.raises(DataError, match=words) as error:
        read(path, *graphs)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_or_no_json(path):
    with pytest.raises(DataError, match=r"train_graphs\.json does not exist"):
        read_graphs(path, CAPTIONS)
    path.write_text("[{")
    with pytest.raises(DataError, match=r"train_graphs\.json cannot be read as JSON"):
        read_graphs(path, CAPTIONS)
