"""What the page holds: which benchmarks, which rows of the viewer, which sentences for what does not fit."""

import numpy as np
import pytest

from itm_harness.benchmarks.analysis.retrieval import open_gallery
from itm_harness.benchmarks.report import contents
from itm_harness.benchmarks.report.contents import make_contents
from itm_harness.benchmarks.report.styles import key_of
from itm_tests.pages import N_IMAGES, noisy_details, page_store, write_data
from itm_tests.stores import make_details, make_published


@pytest.fixture
def gallery(tmp_path):
    return open_gallery("f30k", write_data(tmp_path))


def made(store, galleries=(), published=()):
    return make_contents(store.runs(), store.details, list(published), [], list(galleries))


def test_measured_benchmarks_come_first_and_whole_galleries_before_folds():
    store = page_store()
    store.add_details({"b-folds": make_details(0.5)}, folds=5, dataset="b", method="another")
    store.add_details({"b-whole": make_details(0.5)}, dataset="b", method="other")
    page, problems = made(store, published=[make_published(benchmark="a-1k")])
    assert [board.benchmark for board in page.boards] == ["b-whole", "b-folds", "f30k-1k", "a-1k"]
    assert page.measured == ["b-whole", "b-folds", "f30k-1k"]
    assert (page.records, page.methods) == (7, ["another", "first", "other", "second", "third"])
    assert problems == []


def test_charts_hold_every_row_as_the_mean_over_its_seeds():
    store = page_store()
    page, _ = made(store)
    (benchmark,) = page.data["benchmarks"]
    best, second, last = benchmark["rows"]
    assert [row["label"] for row in benchmark["rows"]] == ["first", "second fusion", "third"]
    assert (best["seeds"], best["minutes"]) == (2, 2.0)  # 90 and 150 seconds
    assert (last["minutes"], last["parameters"]) == (None, 12.34)
    assert best["low"] <= best["rsum"] <= best["high"]
    assert [best["key"], second["key"]] == [key_of(row) for row in store.rows("f30k-1k")[:2]]
    assert best["shape"] != second["shape"]


def test_the_viewer_holds_one_seed_per_row(gallery):
    store = page_store()
    page, problems = made(store, [gallery])
    (view,) = page.data["views"]
    assert problems == []
    assert (view["dataset"], view["benchmark"], view["rows"]) == ("f30k", "f30k-1k", 3)
    assert [run["label"] for run in view["runs"]] == ["first", "second fusion", "third"]
    assert view["runs"][0]["id"] in store.details
    assert view["runs"][0]["seed"] == 0


def test_the_viewer_keeps_the_first_rows_where_there_are_too_many(gallery, monkeypatch):
    monkeypatch.setattr(contents, "VIEWED", 2)
    (view,) = made(page_store(), [gallery])[0].data["views"]
    assert [run["label"] for run in view["runs"]] == ["first", "second fusion"]
    assert view["rows"] == 3


def test_the_viewer_takes_the_benchmark_that_ranks_the_whole_gallery(gallery):
    store = page_store()
    folds = {name: noisy_details(0.5, 9) for name in ("f30k-1k", "a-folds")}
    record = store.add_details(folds, dataset="f30k", method="fourth")
    changed = record.metrics | {"a-folds": record.metrics["a-folds"].model_copy(update={"folds": 2})}
    store.records[-1] = record.model_copy(update={"metrics": changed})
    (view,) = made(store, [gallery])[0].data["views"]
    assert view["benchmark"] == "f30k-1k"


def test_records_of_other_data_are_named_and_not_viewed(gallery):
    store = page_store()
    gallery.image_of_text[:] = np.roll(gallery.image_of_text, 5)
    page, problems = made(store, [gallery])
    assert page.data["views"] == []
    assert len(problems) == 1
    assert f"was measured on {N_IMAGES} images and 60 captions that are not the test split of f30k" in problems[0]


def test_a_data_set_without_records_is_not_viewed(gallery):
    store = page_store()
    store.records = [r.model_copy(update={"dataset": "other"}) for r in store.records]
    store.details = dict(zip([r.id for r in store.records], store.details.values(), strict=True))
    assert made(store, [gallery])[0].data["views"] == []


def test_no_records_are_a_page_of_published_numbers():
    page, problems = make_contents([], {}, [make_published(benchmark="coco-5k")], [], [])
    assert [board.benchmark for board in page.boards] == ["coco-5k"]
    assert (page.records, page.measured, page.data["benchmarks"], problems) == (0, [], [], [])
