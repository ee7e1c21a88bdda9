"""Seeds against each other: what is counted, and what the page says of it."""

import numpy as np
import pytest

from itm_harness.benchmarks.studies import report
from itm_harness.benchmarks.studies.seeds import chance_of
from itm_tests.stores import Store, details_of

N_IMAGES = 400


def add_rows(store, rows, seeds, between_seeds, benchmark="f8k-1k", **changes):
    """Rows of one skill, whose seeds find a share more or less of the same images; `between_seeds` in rsum."""
    rng = np.random.default_rng(len(store.records))
    for number in range(rows):
        for seed in range(seeds):
            share = 0.5 + rng.normal(0, between_seeds) / 600
            found = rng.permutation(N_IMAGES) < share * N_IMAGES
            ranks = np.where(found, 0, 50)
            details = details_of(ranks, np.repeat(ranks, 2), np.repeat(np.arange(N_IMAGES), 2))
            store.add_details({benchmark: details}, seed=seed, method=f"m{number}", variant="", **changes)


def test_seeds_count_and_images_alone_do_not():
    store = Store()
    add_rows(store, 10, 3, between_seeds=60.0)
    (board,) = store.boards()
    found = chance_of(board)
    assert (found.rows, found.pairs, found.tests) == (10, 30, 45)
    assert found.found <= 4
    assert found.found_by_images > 2 * found.found
    assert found.deviation == pytest.approx(60, rel=0.3)
    assert found.smallest > 2 * found.deviation * np.sqrt(2 / 3)  # the seeds alone
    assert found.smallest_holm > 1.3 * found.smallest


def test_one_row_of_several_seeds_cannot_be_judged_by_others():
    store = Store()
    add_rows(store, 1, 3, between_seeds=10.0)
    store.add_details({"f8k-1k": next(iter(store.details.values()))["f8k-1k"]}, method="single", variant="")
    assert chance_of(store.boards()[0]) is None


def test_the_page_is_made_of_records(tmp_path):
    store = Store()
    add_rows(store, 4, 3, between_seeds=20.0)
    store.write(tmp_path)
    page = report.run_study("seeds", tmp_path, print)
    text = page.read_text()
    found = chance_of(store.boards()[0])
    assert f"| f8k-1k | 4 | 12 | {found.found} | {found.found_by_images} | {found.deviation:.1f} |" in text
    assert f"In all {found.found} of 12 pairs differ" in text
    assert "gpo-pooling" not in text  # was not run
    page.unlink()
    own = tmp_path / "local"
    assert report.write_studies(own, [tmp_path]).read_text() == text
    assert report.write_studies(tmp_path).read_text() == text


def test_without_seeds_it_says_so(tmp_path):
    Store().write(tmp_path)
    (tmp_path / "records").mkdir()
    assert "No benchmark has two rows of several seeds yet." in report.write_studies(tmp_path).read_text()
