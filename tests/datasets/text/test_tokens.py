import json
import random
from collections import Counter

import numpy as np
import pytest
from nltk.tokenize import word_tokenize

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.text import tokens as text
from itm_harness.datasets.text.tokens import (
    UNTOUCHED,
    SplitWords,
    Vocabulary,
    WordPieceTokenizer,
    WordTokenizer,
    ragged_positions,
    read_vocabulary,
    split_words,
)
from itm_tests.models import save_tiny_bert
from itm_tests.places import GOLDEN

CASES = GOLDEN / "text" / "scan-tokens"

SPECIAL = ["<pad>", "<start>", "<end>", "<unk>"]


def golden_case():
    return json.loads((CASES / "case.json").read_text())


def golden_vocabulary(case):
    """The recorded part of Flickr30K's vocabulary at its ids, the rest filled with words that no caption holds."""
    words = [f"filler {i}" for i in range(case["config"]["vocab_size"])]
    words[:4] = SPECIAL
    for word, i in case["vocab_subset"].items():
        words[i] = word
    return Vocabulary(words)


def test_word_ids_of_real_captions_are_the_recorded_ones():
    case, expected = golden_case(), np.load(CASES / "expected.npz")
    tokens = WordTokenizer(golden_vocabulary(case)).encode(case["captions"])
    assert np.array_equal(tokens.lengths, expected["lengths"])
    assert np.array_equal(tokens.padded(), expected["ids"])


def test_words_of_real_captions_are_the_recorded_ones():
    case = golden_case()
    assert [split_words(caption) for caption in case["captions"]] == case["tokens"]


def test_the_short_cut_splits_as_nltk_does():
    rng = random.Random(0)
    pieces = ["dog", "Man", "3", "3.5", "1,000", ",", "cannot", "gonna", "wanna", "it's", "dogs'", "t-shirt", "can't"]
    pieces += [
        "'tis",
        '"quoted"',
        "(a)",
        "u.s.",
        "end.",
        "a,b",
        "...",
        "--",
        "x;y",
        "&",
        "%",
        "don t",
        "é",
        "gimme",
        ".",
        "medium-sized",
        "cannot-do",
        "i-gotta-go",
        "a--b",
        "-a",
    ]
    for _ in range(3000):
        caption = " ".join(rng.choices(pieces, k=rng.randint(1, 6))) + rng.choice(["", ".", " .", " . ", ",", "!"])
        assert split_words(caption) == word_tokenize(caption.lower(), preserve_line=True), caption


def test_a_vocabulary_is_built_from_words_seen_often_enough():
    captions = ["A dog runs .", "a dog barks .", "a Cat runs ."]
    counts = Counter(word for caption in captions for word in caption.lower().split())
    built = SplitWords.of(captions).vocabulary(min_count=2)
    assert built.to_json() == [*SPECIAL, "a", "dog", "runs", "."]
    assert set(built.to_json()[4:]) == {word for word, n in counts.items() if n >= 2}
    assert len(SplitWords.of(captions).vocabulary(min_count=1)) == 4 + len(counts)


def test_the_mask_is_the_last_word_and_appended_once():
    vocabulary = Vocabulary([*SPECIAL, "dog"])
    assert vocabulary.mask_id is None
    masked = vocabulary.with_mask()
    assert (len(masked), masked.mask_id, masked["dog"]) == (6, 5, 4)
    assert masked.with_mask() == masked
    with pytest.raises(DataError, match=r"text\.mask_token=true"):
        _ = WordTokenizer(vocabulary).mask_id


def test_unknown_words_and_special_ids():
    vocabulary = Vocabulary([*SPECIAL, "a", "dog"])
    tokens = WordTokenizer(vocabulary).encode(["A dog", "a wolf is a dog"])
    assert tokens.padded().tolist() == [[1, 4, 5, 2, 0, 0, 0], [1, 4, 3, 3, 4, 5, 2]]
    assert tokens.groups.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6]
    assert Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary


def test_tokens_of_chosen_captions():
    tokens = WordTokenizer(Vocabulary([*SPECIAL, "a", "dog"])).encode(["a", "a dog", "dog a dog"])
    chosen = tokens.take(np.array([2, 0, 2]))
    assert chosen.padded().tolist() == [[1, 5, 4, 5, 2], [1, 4, 2, 0, 0], [1, 5, 4, 5, 2]]


def test_ragged_positions_equal_a_loop():
    offsets, rows = np.array([0, 2, 2, 7, 8]), np.array([3, 2, 1, 2])
    source, result = ragged_positions(offsets, rows)
    assert source.tolist() == [p for row in rows for p in range(offsets[row], offsets[row + 1])]
    assert result.tolist() == [0, 1, 6, 6, 11]


def write_vocabulary(path, ids):
    path.write_text(json.dumps({"word2idx": ids, "idx2word": {}, "idx": len(ids)}))
    return path


def test_scan_vocabularies_are_read_by_id(tmp_path):
    ids = {"dog": 4, "<unk>": 3, "<pad>": 0, "<end>": 2, "<start>": 1}
    assert read_vocabulary(write_vocabulary(tmp_path / "v.json", ids)).words == (*SPECIAL, "dog")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ({"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 4}, "are not 0 to 3"),
        ({"<pad>": 1, "<start>": 0, "<end>": 2, "<unk>": 3}, "begins with <pad>, <start>"),
        (["<pad>"], "no SCAN vocabulary"),
    ],
)
def test_other_vocabulary_files_are_refused(tmp_path, ids, message):
    with pytest.raises(DataError, match=message) as caught:
        read_vocabulary(write_vocabulary(tmp_path / "v.json", ids))
    assert "v.json" in str(caught.value)


def test_ready_made_ids_with_and_without_start(tmp_path):
    tokenizer = WordTokenizer(Vocabulary([*SPECIAL, "a", "dog"]))
    path = tmp_path / "train_precaps_stan.txt"
    path.write_text("1,4,5,2\n1,5,2\n")
    assert tokenizer.read_precomputed(path, 2).padded().tolist() == [[1, 4, 5, 2], [1, 5, 2, 0]]
    path.write_text("4,5\n5\n")
    assert tokenizer.read_precomputed(path, 2).padded().tolist() == [[1, 4, 5, 2], [1, 5, 2, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [("1,4,2\n", "1 lines for 2 captions"), ("1,4,2\n1,x,2\n", "line 2: '1,x,2'"), ("1,4,2\n1,9,2\n", "line 2: an id")],
)
def test_ready_made_ids_that_do_not_fit(tmp_path, text, message):
    path = tmp_path / "train_precaps_stan.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        WordTokenizer(Vocabulary([*SPECIAL, "a", "dog"])).read_precomputed(path, 2)


@pytest.fixture
def bert_folder(tmp_path):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "man", "ride", "##s", "horse", "##back", "."]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return tmp_path


def test_word_pieces_and_their_basic_tokens(bert_folder):
    tokenizer = WordPieceTokenizer(str(bert_folder))
    tokens = tokenizer.encode(["A man rides horseback.", "unknown man"])
    assert (tokenizer.size, tokenizer.mask_id) == (12, 4)
    assert tokens.ids.tolist() == [2, 5, 6, 7, 8, 9, 10, 11, 3, 2, 1, 6, 3]
    assert tokens.offsets.tolist() == [0, 9, 13]
    assert tokens.groups.tolist() == [UNTOUCHED, 0, 1, 2, 2, 3, 3, 4, UNTOUCHED, UNTOUCHED, 0, 1, UNTOUCHED]


@pytest.mark.parametrize("special", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
def test_the_name_of_a_special_token_in_a_caption_is_text(special, bert_folder):
    with (bert_folder / "vocab.txt").open("a") as file:
        file.write(f"\n[\n]\n{special.strip('[]').lower()}")  # ids 12, 13, 14
    tokens = WordPieceTokenizer(str(bert_folder)).encode([f"a {special} man{special}."])
    assert tokens.ids.tolist() == [2, 5, 12, 14, 13, 6, 12, 14, 13, 11, 3]
    assert tokens.groups.tolist() == [UNTOUCHED, *range(9), UNTOUCHED]


def test_the_name_of_a_special_word_in_a_caption_is_text():
    vocabulary = Vocabulary([*SPECIAL, "a", "start"]).with_mask()
    tokens = WordTokenizer(vocabulary).encode(["a <start> <MASK> <unk>"])
    assert tokens.ids.tolist() == [1, 4, *(3, 5, 3), *(3, 3, 3), *(3, 3, 3), 2]  # "<", "start", ">", ...


def test_captions_beyond_berts_positions_are_cut(bert_folder):
    tokens = WordPieceTokenizer(str(bert_folder)).encode(["man " * 600])
    assert tokens.lengths.tolist() == [512]
    assert tokens.ids[-1] == 3


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(DataError, match=r"set text\.bert=FOLDER") as caught:
        _ = WordPieceTokenizer(str(tmp_path)).size
    assert str(tmp_path) in str(caught.value)


@pytest.fixture
def cache_folder(monkeypatch, tmp_path):
    """A cache folder of its own, used for any number of captions."""
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(text, "WORTH_CACHING", 1)
    return tmp_path / "cache"


def test_word_pieces_come_from_the_cache_the_second_time(cache_folder, tiny_bert, monkeypatch):
    captions = ["a red dog runs", "the unheard-of dog", "a"]
    fresh = WordPieceTokenizer(str(tiny_bert))._encode(captions)
    WordPieceTokenizer(str(tiny_bert)).encode(captions)
    monkeypatch.setattr(WordPieceTokenizer, "_encode", None)  # must not be called again
    kept = WordPieceTokenizer(str(tiny_bert)).encode(captions)
    for name in ("ids", "offsets", "groups"):
        first, second = getattr(fresh, name), getattr(kept, name)
        assert first.dtype == second.dtype
        assert np.array_equal(first, second)


def test_another_tokenizer_or_other_captions_are_tokenised_anew(cache_folder, tiny_bert, tmp_path):
    other = save_tiny_bert(tmp_path / "other")
    content = json.loads((other / "tokenizer.json").read_text())
    ids = content["model"]["vocab"]
    ids["red"], ids["dog"] = ids["dog"], ids["red"]
    (other / "tokenizer.json").write_text(json.dumps(content))
    captions = ["a red dog"]
    first, second = (WordPieceTokenizer(str(path)).encode(captions) for path in (tiny_bert, other))
    assert first.ids.tolist() != second.ids.tolist()
    assert len(WordPieceTokenizer(str(tiny_bert)).encode(["a red"]).ids) == 4


def test_words_come_from_the_cache_the_second_time(cache_folder, monkeypatch):
    captions = ["a dog, isn't it?", "señor dog", ""]
    fresh = SplitWords.split(captions)
    SplitWords.of(captions)
    monkeypatch.setattr(text, "split_words", None)
    kept = SplitWords.of(captions)
    assert kept.types == fresh.types
    assert kept.codes.tolist() == fresh.codes.tolist()
    assert kept.offsets.tolist() == fresh.offsets.tolist()
