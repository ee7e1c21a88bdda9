"""Rows and records side by side: found by name, refused where they do not belong together, known differences."""

import numpy as np
import pytest

from itm_harness.benchmarks.analysis.compare import (
    SEEDS_NOT_COUNTED,
    Query,
    compare_rows,
    most_different,
)
from itm_harness.benchmarks.analysis.evidence import Sample, SeedVariance, compare
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.opening import Opened, open_pair, open_record, open_row
from itm_tests.stores import Store, details_of

OWNER = np.repeat(np.arange(4), 2)


def opened(i2t, t2i, owner=OWNER, **changes) -> Opened:
    details = {"f8k-1k": details_of(np.array(i2t), np.array(t2i), np.array(owner))}
    return Opened(Store().add_details(details, **changes), details)


def compare_records(first: Opened, second: Opened):
    return compare_rows([first], [second], None)


@pytest.fixture
def folder(tmp_path):
    store = Store()
    for seed in (1, 2, 12):
        store.add(seed=seed)
    store.add(method="hrem")
    store.write(tmp_path)
    return tmp_path


def test_a_record_is_found_by_id_beginning_or_path(folder):
    hrem = open_record("hrem", folder)
    assert open_record(hrem.record.id, folder).record == hrem.record
    path = folder / "records" / f"{hrem.record.id}.json"
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for suffix in (".json", ".npz"):
        (elsewhere / path.name).with_suffix(suffix).write_bytes(path.with_suffix(suffix).read_bytes())
    found = open_record(str(elsewhere / path.name), folder / "none")
    assert found.record == hrem.record
    np.testing.assert_array_equal(found.details["f8k-1k"].t2i_ranks, hrem.details["f8k-1k"].t2i_ranks)


def test_a_whole_id_is_no_beginning_of_another(folder):
    assert open_record("gpo-f8k-s2", folder).record.seed == 2
    with pytest.raises(RunError, match=r"gpo-f8k-s1 is ambiguous: gpo-f8k-s1-\w+, gpo-f8k-s12-\w+;"):
        open_record("gpo-f8k-s1", folder)
    assert open_record("gpo-f8k-s1-", folder).record.seed == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [("gpo-f8k-s9-1234", "did you mean 'gpo-f8k-s"), ("none.json", "does not exist"), ("x" * 9, "is not among")],
)
def test_an_unknown_record_is_named(folder, name, message):
    with pytest.raises(RunError, match=message):
        open_record(name, folder)


def test_a_damaged_record_is_named(folder):
    path = next((folder / "records").glob("hrem*.npz"))
    path.unlink()
    with pytest.raises(RunError, match=r"hrem-gpo-f8k-.*\.npz is missing"):
        open_record("hrem", folder)


def test_differences_are_first_minus_second():
    first = opened([0, 0, 7, 7], [0, 0, 0, 0, 20, 20, 20, 20])
    second = opened([0, 4, 20, 7], [4, 20, 20, 20, 20, 20, 20, 20], seed=1)
    (found,) = compare_records(first, second)
    by_name = {q.name: q for q in found.quantities}
    known = {  # name: first, second
        "i2t R@1": (50, 25), "i2t R@5": (50, 50), "i2t R@10": (100, 75),
        "t2i R@1": (50, 0), "t2i R@5": (50, 12.5), "t2i R@10": (50, 12.5), "rsum": (350, 175),
    }  # fmt: skip
    assert {name: (q.first, q.second) for name, q in by_name.items()} == {n: pytest.approx(v) for n, v in known.items()}
    for name, (a, b) in known.items():
        assert by_name[name].comparison.difference == pytest.approx(a - b)
        assert by_name[name].comparison.low <= a - b <= by_name[name].comparison.high
        assert by_name[name].comparison.p <= by_name[name].adjusted <= 1
    assert by_name["i2t R@5"].comparison.p == 1
    assert (found.mcnemar.first_only, found.mcnemar.second_only, found.mcnemar.p) == (1, 0, 1)
    assert found.sentences()[0] == SEEDS_NOT_COUNTED
    assert found.sentences()[1].endswith("only A 1, only B 0, p 1.0000")
    assert by_name["t2i R@5"].row()[:4] == ("t2i R@5", "50.0", "12.5", "+37.5")
    assert found.images == [Query(1, 1, 5), Query(2, 8, 21)]
    assert found.captions[:3] == [Query(1, 1, 21), Query(2, 1, 21), Query(3, 1, 21)]
    (swapped,) = compare_records(second, first)
    assert swapped.quantities[-1].comparison.difference == pytest.approx(-175)
    assert swapped.images[0] == Query(1, 5, 1)


def test_holm_runs_over_the_quantities():
    first, second = opened([0] * 4, [0] * 8), opened([50] * 4, [50] * 8, seed=1)
    (found,) = compare_records(first, second)
    assert [q.row()[-2:] for q in found.quantities] == [("< 0.0001", "< 0.0001")] * 7
    first, second = opened([0, 0, 7, 7], [0] * 8), opened([0, 4, 20, 7], [0, 4] * 4, seed=1)
    (found,) = compare_records(first, second)
    smallest = min(found.quantities, key=lambda q: q.comparison.p)
    assert smallest.adjusted == pytest.approx(min(1, 7 * smallest.comparison.p))


def seeds(store, folder, skills, **changes):
    for seed, skill in enumerate(skills):
        store.add(skill, seed=seed, **changes)
    store.write(folder)


def test_a_row_is_all_seeds_of_a_record(tmp_path):
    store = Store()
    seeds(store, tmp_path, (0.5, 0.55, 0.6))
    store.add(0.9, seed=3, recipe={"other": 1}, overrides={"other": 1})
    store.add(0.1, seed=4, diverged="the embeddings have collapsed")
    store.add(0.9, method="hrem")
    store.write(tmp_path)
    row = open_row("gpo-f8k-s1", tmp_path)
    assert [opened.record.seed for opened in row] == [0, 1, 2]
    path = next((tmp_path / "records").glob("gpo-f8k-s2-*.json"))
    assert [opened.record.seed for opened in open_row(str(path), tmp_path / "none")] == [0, 1, 2]
    assert [opened.record.seed for opened in open_row("gpo-f8k-s4", tmp_path)] == [0, 1, 2, 4]  # asked for by its name


def test_rows_are_compared_by_images_and_seeds(tmp_path):
    store = Store()
    seeds(store, tmp_path, (0.5, 0.55, 0.6))
    seeds(store, tmp_path, (0.4, 0.45, 0.47), method="hrem")
    store.add(0.5, seed=0, method="aahr")
    store.add(0.8, seed=1, method="aahr")  # these tell of seeds, too
    store.write(tmp_path)
    (found,) = compare_rows(*open_pair("gpo-f8k-s0", "hrem-gpo-f8k-s0", tmp_path))
    gpo, hrem = ([run for run in store.runs() if run.record.method == name] for name in ("gpo", "hrem"))
    samples = []
    for runs in (gpo, hrem):
        scores = np.stack([run.scores["f8k-1k"] for run in runs])
        samples.append(Sample(scores.mean(axis=0), scores.mean(axis=1)))
    expected = compare(*samples, SeedVariance.pooled(row.sample for row in store.rows()))
    comparison = found.quantities[-1].comparison
    assert (comparison.low, comparison.high, comparison.p) == pytest.approx((expected.low, expected.high, expected.p))
    assert (found.seeds_counted, found.mcnemar, found.images, found.sentences()) == (True, None, [], [])
    (single,) = compare_rows(*open_pair("gpo-f8k-s0", "hrem-gpo-f8k-s0", tmp_path, single=True))
    assert (single.quantities[-1].first, single.quantities[-1].second) == pytest.approx((300, 240))
    assert single.sentences()[0] == SEEDS_NOT_COUNTED


def test_two_seeds_of_one_row_are_single_records(tmp_path):
    store = Store()
    seeds(store, tmp_path, (0.5, 0.6))
    pair = open_pair("gpo-f8k-s0", "gpo-f8k-s1", tmp_path)
    assert [len(row) for row in pair[:2]] == [1, 1]
    (found,) = compare_rows(*pair)
    assert not found.seeds_counted
    assert found.mcnemar is not None


def test_rows_of_one_seed_are_told_by_the_seeds_of_others(tmp_path):
    store = Store()
    seeds(store, tmp_path, (0.7,), method="hrem")
    seeds(store, tmp_path, (0.8,), method="aahr")
    (found,) = compare_rows(*open_pair("hrem", "aahr", tmp_path))
    assert not found.seeds_counted  # nobody knows
    assert found.mcnemar is not None
    seeds(store, tmp_path, (0.5, 0.6))
    (told,) = compare_rows(*open_pair("hrem", "aahr", tmp_path))
    assert told.seeds_counted
    widths = [c.high - c.low for c in (one.quantities[-1].comparison for one in (found, told))]
    assert widths[0] < widths[1]
    seeds(store, tmp_path, (0.1, 0.9), method="gsmn", n_images=20)  # of another test set
    seeds(store, tmp_path, (0.1, 0.9), method="vssr", diverged="the embeddings have collapsed")
    assert compare_rows(*open_pair("hrem", "aahr", tmp_path)) == [told]


def test_only_shared_benchmarks_are_compared():
    details = {name: details_of(np.zeros(4), np.zeros(8), OWNER) for name in ("coco-1k", "coco-5k")}
    both = Opened(Store().add_details(details), details)
    one = Opened(Store().add_details({"coco-5k": details["coco-5k"]}, seed=1), details)
    assert [b.benchmark for b in compare_records(both, one)] == ["coco-5k"]
    with pytest.raises(RunError, match=r"gpo-f8k-s0-\w+ \(f8k-1k\) and .*\(coco-1k, coco-5k\) share no benchmark"):
        compare_records(opened([0] * 4, [0] * 8), both)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: opened([0] * 3, [0] * 6, OWNER[:6]), "4 images and 8 captions in 1 fold, and 3 images and 6 captions"),
        (lambda: opened([0] * 4, [0] * 8, OWNER[::-1].copy()), "their captions belong to other images"),
        (lambda: opened([0] * 4, [0] * 8, folds=2), "in 2 folds"),
    ],
)
def test_other_data_is_refused(other, message):
    with pytest.raises(RunError, match=message):
        compare_records(opened([0] * 4, [0] * 8), other())


def test_the_most_different_queries_have_the_largest_ratio_of_ranks():
    first, second = np.array([0, 399, 5, 9, 0, 3]), np.array([49, 899, 5, 0, 1, 7])
    ordered = [Query(0, 1, 50), Query(3, 10, 1), Query(1, 400, 900), Query(4, 1, 2), Query(5, 4, 8)]
    assert most_different(first, second, 99) == ordered  # equal ratios by position, equal ranks not at all
    assert most_different(first, second, 2) == ordered[:2]
