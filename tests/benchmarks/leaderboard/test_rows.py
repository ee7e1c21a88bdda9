"""Rows: what shares one, what does not, and how rows are told apart."""

import pytest

from itm_harness.benchmarks.leaderboard.rows import MARKS, on_one_test_set, overrides_text
from itm_tests.stores import Store


@pytest.fixture
def store() -> Store:
    return Store()


def test_seeds_share_a_row_with_mean_and_sample_deviation(store):
    for seed, skill in enumerate((0.5, 0.6, 0.7)):
        store.add(skill, seed=seed, train_seconds=60.0 * seed if seed else None)
    (row,) = store.rows()
    assert [r.seed for r in row.records] == [0, 1, 2]
    assert (row.rsum.mean, row.rsum.std) == (pytest.approx(360), pytest.approx(60))
    assert row.scores.mean() == pytest.approx(360)
    assert row.spread(lambda r: r.train_seconds, 1 / 60) == pytest.approx(1.5)  # of those that have it
    assert row.spread(lambda r: r.encode_seconds) is None


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": {"optim": {"lr": 1e-3}}, "overrides": {"optim.lr": 1e-3}},
        {"variant": "max"},
        {"method": "hrem"},
        {"text": "BERT"},
        {"flags": ["gallery_score"]},
        {"flags": ["extra_pretraining"]},
        {"data_fingerprint": "other"},
    ],
)
def test_what_differs_is_a_row_of_its_own(store, change):
    store.add()
    store.add(seed=1, **change)
    assert [len(row.records) for row in store.rows()] == [1, 1]


def test_rows_come_best_first(store):
    for skill, method in ((0.3, "a"), (0.9, "b"), (0.5, "c")):
        store.add(skill, method=method)
    assert [row.first.method for row in store.rows()] == ["b", "c", "a"]


def test_overrides_are_shown_short_and_without_folders(store):
    overrides = {"train.epochs": 3, "optim.decay_epochs": [1, 2], "text.bert": "../weights/bert-base"}
    store.add(recipe={}, overrides=overrides)
    (row,) = store.rows()
    assert overrides_text(row.overrides) == "optim.decay_epochs=[1, 2], text.bert=bert-base, train.epochs=3"
    assert row.label == f"gpo {overrides_text(row.overrides)}"


def test_an_override_that_names_the_default_is_none(store):
    store.add(seed=0)
    store.add(seed=1, overrides={"optim.lr": 5e-4})
    (row,) = store.rows()
    assert (row.overrides, row.as_it_comes) == ({}, True)
    store.add(recipe={}, overrides={"optim.lr": 1})
    assert [row.as_it_comes for row in store.rows() if row.overrides] == [False]


@pytest.mark.parametrize(
    ("mark", "change"),
    [
        ("gallery_score", {"flags": ["gallery_score"]}),
        ("selected_on_test", {"flags": ["selected_on_test"], "selection": "test"}),
        ("extra_pretraining", {"flags": ["extra_pretraining"]}),
        ("simulated_inputs", {"flags": ["simulated_inputs"]}),
        ("ensemble", {"flags": ["ensemble"]}),
        ("imported", {"flags": ["imported"]}),
        ("last", {"selection": "last"}),
        ("none", {"selection": "none"}),
    ],
)
def test_what_sets_a_row_apart_is_marked(store, mark, change):
    store.add()
    store.add(seed=1, method="marked", **change)
    assert {row.first.method: row.marks for row in store.rows()} == {"gpo": (), "marked": (mark,)}
    (row,) = [row for row in store.rows() if row.marks]
    assert str(row.marked) == f"marked gpo ({MARKS[mark][0]})"


def test_whether_code_has_changed_since_is_no_matter_of_the_tables(store):
    store.add(seed=0)
    store.add(seed=1, code_hash="older code")
    assert [row.marks for row in store.rows()] == [()]


def test_the_evidence_of_a_row_is_its_images_and_seeds(store):
    for seed, skill in enumerate((0.5, 0.6)):
        store.add(skill, seed=seed)
    store.add(0.4, method="clip", selection="none", seed=None)
    trained, untrained = store.rows()
    assert (trained.sample.seeds.tolist(), trained.sample.drawn) == ([pytest.approx(300), pytest.approx(360)], True)
    assert trained.sample.scores.mean() == pytest.approx(330)
    assert not untrained.sample.drawn


@pytest.mark.parametrize("change", [{"flags": ["limited"], "limit": 10}, {"flags": ["nonstandard_size"]}])
def test_smoke_runs_and_other_sizes_are_never_shown(store, change):
    store.add(**change)
    assert store.runs() == []


def test_the_test_set_that_most_share_stays(store):
    few = [store.add(method="a"), store.add(method="b")]
    many = [store.add(method="c", n_images=20, seed=seed) for seed in range(3)]
    kept, sentences = on_one_test_set("f8k-1k", store.runs())
    assert {run.record.id for run in kept} == {r.id for r in many}
    assert len(sentences) == 2
    for record, sentence in zip(few, sentences, strict=True):
        assert sentence.startswith(f"f8k-1k: {record.id} was measured on a different test set (40 images and 200 ")
        assert f"than {many[0].id} (20 images and 100 captions) and 2 more" in sentence
