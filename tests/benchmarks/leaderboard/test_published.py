"""The published numbers: typed, kept as printed, and each met by a run that the recipes can make."""

from functools import cache

import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.published import (
    FILE,
    OPEN_CLIP,
    OpenCLIP,
    Published,
    read_lines,
    read_published,
)
from itm_harness.benchmarks.preparing.clip_encoder import MODEL, WEIGHTS, CLIPEncoder
from itm_harness.benchmarks.runs.finished import joined
from itm_harness.datasets.spec import find_spec
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.registry import SHIPPED, find_method

PRINTED = list(read_lines(FILE, Published))

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
    ("CHAN", "", "BUTD region", "BiGRU", "f30k-1k"): 0.1,
    ("CHAN", "", "BUTD region", "BiGRU", "coco-1k"): -0.1,
}


def test_rsums_that_are_not_the_sum_of_their_recalls():
    found = {
        (p.method, p.setting, p.features, p.text, p.benchmark): p.rounding for p in PRINTED if abs(p.rounding) > 0.05
    }
    assert found == NOT_THE_SUM
    assert max(map(abs, found.values())) <= 0.3


def test_every_row_is_read_and_no_row_is_there_twice():
    assert len(PRINTED) == 143
    assert {p.benchmark for p in PRINTED} == {"f8k-1k", "f30k-1k", "coco-1k", "coco-5k"}
    keys = [(p.method, p.setting, p.features, p.text, p.ensemble, p.benchmark) for p in PRINTED]
    assert len(set(keys)) == len(keys)
    assert all(0 < r1 <= r5 <= r10 < 100 for p in PRINTED for r1, r5, r10 in (p.recalls[:3], p.recalls[3:]))


def test_a_known_row():
    (row,) = [p for p in PRINTED if (p.method, p.ensemble, p.benchmark) == ("GSMN", True, "coco-1k")]
    assert row.recalls == (78.4, 96.4, 98.6, 63.3, 90.1, 95.7)
    assert row.rsum == 522.5
    assert row.source == "AAHR table 1 (GSMN*)"
    assert row.name == "GSMN, dense+sparse"


# Runs that repeat them

OTHER_NAMES = {"VSE++": "gpo"}  # its baseline


def ours(p: Published) -> str | None:
    """The shipped method that a printed one is, or is put on: GPO+VSD is vsd."""
    names = [OTHER_NAMES.get(part, part.lower()) for part in (p.method, *reversed(p.method.split("+")))]
    return next((name for name in names if name in SHIPPED), None)


SHIPPED_ROWS = [p for p in PRINTED if ours(p) and p.benchmark != "f8k-1k"]  # f8k has other features than were printed


@cache
def labels(method: str, variant: str, dataset: str, bert: bool) -> tuple[str, str]:
    """Image inputs and text encoder that a record of a run without further overrides would hold."""
    found = []
    for member in find_method(method, variant or None).description.ensembles.get(variant, (variant,)):
        entry = find_method(method, member or None)
        config = resolve_entry(entry, dataset, member or None, {} if bert else {"text.bert": None}).config
        regions = find_spec(dataset).features
        found.append((entry.description.features_label(config, regions), entry.description.text_label(config)))
    return tuple(map(joined, zip(*found, strict=True)))


@pytest.mark.parametrize("p", SHIPPED_ROWS, ids=lambda p: f"{p.name} {p.features} {p.text} {p.benchmark} {p.source}")
def test_each_row_of_a_shipped_method_has_a_run_that_would_meet_it(p):
    assert p.our_method == ours(p)
    dataset = p.benchmark.split("-")[0]
    variants = find_method(p.our_method, p.our_variant or None).description
    would_be = [
        (p.our_method, p.our_variant, *labels(p.our_method, p.our_variant, dataset, bert), p.ensemble)
        for bert in (True, False)
    ]
    assert p.key in would_be
    assert p.ensemble == (p.our_variant in variants.ensembles)


def test_what_cannot_be_met_has_no_key():
    assert {p.our_method for p in PRINTED if p not in SHIPPED_ROWS} == {""}
    assert len(SHIPPED_ROWS) == 62


def test_vectors_are_those_that_prepare_makes_by_itself():
    sources = {p.our_source for p in PRINTED} - {""}
    assert sources == {CLIPEncoder(MODEL, WEIGHTS).weights}


# open_clip's own figures


def test_open_clip_lists_its_models_on_both_benchmarks():
    rows = list(read_lines(OPEN_CLIP, OpenCLIP))
    assert len(rows) == 242
    assert {p.benchmark for p in rows} == {"f30k-1k", "coco-5k"}
    assert len({(p.model, p.pretrained, p.benchmark) for p in rows}) == 242
    assert max(abs(p.rsum - sum(p.recalls)) for p in rows) < 0.02


def test_the_weights_that_aahr_links_to_stand_beside_its_printed_row():
    found = {
        (p.setting, p.benchmark): p for p in read_published() if (p.our_method, p.our_variant) == ("clip", "zeroshot")
    }
    weights = f"zero-shot {MODEL}, {WEIGHTS}"
    assert {key: round(p.rsum, 1) for key, p in found.items()} == {
        ("zero-shot ViT-B/32", "f30k-1k"): 491.8, ("zero-shot ViT-B/32", "coco-1k"): 456.1,
        ("zero-shot ViT-B/32", "coco-5k"): 322.4, (weights, "f30k-1k"): 526.9, (weights, "coco-5k"): 403.7,
    }  # fmt: skip
    assert len({p.key for p in found.values()}) == 1
    for benchmark, figure in (("f30k-1k", "526.9"), ("coco-5k", "403.7")):
        assert figure in found["zero-shot ViT-B/32", benchmark].note


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("442.3", "many", "line 2: rsum"),
        (",0,f30k-1k", ",2,f30k-1k", "line 2: ensemble"),
        ("VSE++,re-run by VSE∞,", "VSE++,", "line 2"),
        ("note\n", "note,surprise\n", "line 2"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, old, new, message):
    path = tmp_path / "published.csv"
    path.write_text(FILE.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RunError, match=message):
        list(read_lines(path, Published))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"none\.csv cannot be read"):
        list(read_lines(tmp_path / "none.csv", Published))
