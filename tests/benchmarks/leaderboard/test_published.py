"""The published numbers: typed, kept as printed, and found by the names of our methods."""

import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.published import FILE, name_words, read_published

# method, setting, features, text, benchmark: printed rsum minus the sum of the printed recalls (each is rounded)
NOT_THE_SUM = {
    ("VSE++", "re-run by VSE∞", "BUTD region", "BERT", "coco-5k"): 0.1,
    ("GPO", "", "BUTD region", "BERT", "coco-5k"): 0.1,
    ("GPO", "", "BUTD grid", "BERT", "coco-1k"): 0.1,
    ("GPO", "", "WSL grid", "BERT", "coco-5k"): 0.1,
    ("GSMN", "dense+sparse", "BUTD region", "BiGRU", "f30k-1k"): 0.1,
    ("HREM", "fusion", "BUTD region", "BiGRU", "coco-1k"): -0.1,
    ("HREM", "full", "BUTD region", "BiGRU", "f30k-1k"): 0.1,
    ("HREM", "full", "BUTD region", "BiGRU", "coco-1k"): 0.1,
    ("HREM", "fusion", "BUTD region", "BERT", "coco-1k"): -0.1,
    ("HREM", "full", "BUTD region", "BERT", "coco-1k"): 0.1,
    ("HREM", "full", "BUTD region", "BERT", "coco-5k"): -0.1,
    ("AAHR", "", "BUTD region + CLIP ViT-B/32", "BERT", "coco-1k"): -0.1,
    ("AAHR", "", "BUTD region + CLIP ViT-B/32", "BERT", "coco-5k"): -0.2,
    ("HREM+VSD", "star", "BUTD region + descriptions", "BERT", "f30k-1k"): 0.1,
    ("GPO+VSD", "star", "BUTD region + descriptions", "BERT", "coco-5k"): 0.1,
    ("GPO+VSD", "dagger", "BUTD region + descriptions", "BERT", "coco-5k"): -0.1,
    ("HREM+VSD", "dagger", "BUTD region + descriptions", "BERT", "coco-5k"): -0.2,
    ("CLIP+VSD", "star", "raw image + descriptions", "CLIP", "coco-5k"): 0.1,
    ("CLIP+VSD", "dagger", "raw image + descriptions", "CLIP", "coco-5k"): 0.1,
    ("CLIP", "zero-shot ViT-B/32", "raw image", "CLIP", "f30k-1k"): 0.1,
    ("CHAN", "", "BUTD region", "BERT", "coco-1k"): 0.1,
    ("CVSE", "", "BUTD region", "BiGRU", "f30k-1k"): -0.1,
    ("MV", "", "BUTD region", "BiGRU", "f30k-1k"): -0.1,
    ("MV", "", "BUTD region", "BiGRU", "coco-5k"): -0.1,
    ("USER", "", "BUTD region + CLIP", "BERT", "f30k-1k"): -0.1,
}


def test_rsums_that_are_not_the_sum_of_their_recalls():
    rows = read_published()
    found = {(p.method, p.setting, p.features, p.text, p.benchmark): p.rounding for p in rows if abs(p.rounding) > 0.05}
    assert found == NOT_THE_SUM
    assert max(map(abs, found.values())) <= 0.3


def test_every_row_is_read_and_no_row_is_there_twice():
    rows = read_published()
    assert len(rows) == 95
    assert {p.benchmark for p in rows} == {"f30k-1k", "coco-1k", "coco-5k"}
    keys = [(p.method, p.setting, p.features, p.text, p.ensemble, p.benchmark) for p in rows]
    assert len(set(keys)) == len(keys)
    assert all(0 < r1 <= r5 <= r10 < 100 for p in rows for r1, r5, r10 in (p.recalls[:3], p.recalls[3:]))


def test_a_known_row():
    (row,) = [p for p in read_published() if (p.method, p.text, p.benchmark) == ("GSMN", "BiGRU", "coco-1k")]
    assert row.recalls == (78.4, 96.4, 98.6, 63.3, 90.1, 95.7)
    assert row.rsum == 522.5
    assert row.ensemble is True
    assert row.source == "AAHR table 1 (GSMN*)"


def test_names_are_those_of_our_methods_and_variants():
    assert name_words("GPO+VSD star") == name_words("vsd gpo-star")
    assert name_words("VSRN++") != name_words("VSRN")
    names = {(p.method, p.setting): p.names for p in read_published()}
    assert names["GPO", ""] == name_words("gpo gpo")
    assert names["VSE++", "re-run by VSE∞"] == name_words("gpo vsepp")
    assert names["HREM", "fusion"] == name_words("hrem fusion")
    assert names["GSMN", "dense+sparse"] == name_words("gsmn full")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("442.3", "many", "line 2: rsum"),
        (",0,f30k-1k", ",2,f30k-1k", "line 2: ensemble"),
        ("VSE++,re-run by VSE∞,", "VSE++,", "line 2"),
        ("source\n", "source,surprise\n", "line 2"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, old, new, message):
    path = tmp_path / "published.csv"
    path.write_text(FILE.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RunError, match=message):
        read_published(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"none\.csv cannot be read"):
        read_published(tmp_path / "none.csv")
