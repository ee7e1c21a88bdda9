"""Boards: which rows stand on them, in which track, and what may be said of their order."""

import numpy as np
import pytest

from itm_harness.benchmarks.analysis.evidence import Sample, SeedVariance, Span, compare
from itm_harness.benchmarks.leaderboard.board import ENSEMBLES, MORE_DATA, ONE_MODEL, boards_of
from itm_tests.stores import Store


def seeds(store, skills, **changes):
    return [store.add(skill, seed=seed, **changes) for seed, skill in enumerate(skills)]


def standings(store):
    (board,) = store.boards()
    return {str(standing.row.system): standing for standing in board.standings}


@pytest.fixture
def store() -> Store:
    return Store()


def test_ranks_are_intervals_within_a_track(store):
    seeds(store, (0.9, 0.91, 0.92), method="a", variant="")
    seeds(store, (0.5, 0.51, 0.52), method="b", variant="")
    seeds(store, (0.5, 0.51, 0.53), method="c", variant="")
    seeds(store, (0.3, 0.31, 0.32), method="d", variant="", flags=["extra_pretraining"])
    seeds(store, (0.95, 0.96, 0.97), method="e", variant="", flags=["ensemble"])
    found = standings(store)
    assert {name: s.track for name, s in found.items()} == {
        "a": ONE_MODEL, "b": ONE_MODEL, "c": ONE_MODEL, "d": MORE_DATA, "e": ENSEMBLES
    }  # fmt: skip
    assert {name: s.rank for name, s in found.items()} == {
        "a": Span(1, 1), "b": Span(2, 3), "c": Span(2, 3), "d": Span(1, 1), "e": Span(1, 1)
    }  # fmt: skip
    assert [found[name].letters for name in "abc"] == ["a", "b", "b"]
    assert list(found) == ["a", "c", "b", "d", "e"]


def test_a_difference_of_seeds_is_no_rank(store):
    """Either row is on top with other seeds: the paired images alone would be sure of a difference."""
    seeds(store, (0.3, 0.5, 0.7), method="a", variant="")
    seeds(store, (0.45, 0.65, 0.85), method="b", variant="")
    found = standings(store)
    assert {s.rank for s in found.values()} == {Span(1, 2)}
    assert {s.letters for s in found.values()} == {"a"}


@pytest.mark.parametrize("flags", [["simulated_inputs"], ["gallery_score"]])
def test_what_is_not_measured_like_the_others_is_unranked(store, flags):
    seeds(store, (0.5, 0.51, 0.52))
    seeds(store, (0.9, 0.91, 0.92), method="b", variant="", flags=flags)
    found = standings(store)
    assert (found["b"].rank, found["b"].letters) == (None, "")
    assert found["gpo"].rank == Span(1, 1)


def test_fewer_than_three_seeds_are_unranked_and_come_last_in_their_track(store):
    seeds(store, (0.5, 0.51, 0.52))
    seeds(store, (0.9, 0.91), method="b", variant="")
    store.add(0.2, method="c", variant="", seed=None, selection="none")  # nothing was drawn, so one is all there is
    found = standings(store)
    assert {name: s.rank for name, s in found.items()} == {"gpo": Span(1, 1), "c": Span(2, 2), "b": None}
    assert list(found) == ["gpo", "c", "b"]


def test_an_epoch_chosen_on_test_is_unranked(store):
    seeds(store, (0.5, 0.51, 0.52), selection="test", flags=["selected_on_test"])
    assert standings(store)["gpo"].rank is None


def test_overrides_do_not_stand_on_the_board(store):
    seeds(store, (0.5, 0.51, 0.52))
    seeds(store, (0.9, 0.91, 0.92), recipe={"x": 1}, overrides={"x": 1})
    store.add(0.7, method="hrem", overrides={"text.bert": "bert-base"})  # where its weights lie
    (board,) = store.boards()
    assert [str(s.row.system) for s in board.standings] == ["gpo", "hrem gpo"]
    assert len(board.rows) == 3


def test_of_two_recipes_the_newer_one_stands_there(store):
    old = store.add(0.9, recipe={"optim": {"lr": 1}}, created="2025-01-01T00:00:00Z")
    new = store.add(0.5, recipe={"optim": {"lr": 2}}, created="2026-02-01T00:00:00Z")
    (board,) = store.boards()
    assert [s.row.first.id for s in board.standings] == [new.id]
    assert [row.first.id for row in board.replaced] == [old.id]


def test_real_data_come_first_and_whole_galleries_before_folds(store):
    store.add(benchmarks=("demo-100",), dataset="demo", folds=5)
    store.add(benchmarks=("demo-500",), dataset="demo", seed=1)
    store.add(benchmarks=("f8k-1k",))
    boards = boards_of(store.runs())
    assert [board.benchmark for board in boards] == ["f8k-1k", "demo-500", "demo-100"]
    assert [board.is_smoke_test for board in boards] == [False, True, True]


def test_the_interval_is_that_of_images_and_seeds_of_the_whole_board(store):
    seeds(store, (0.4, 0.5, 0.6))
    alone = standings(store)["gpo"].rsum
    seeds(store, (0.1, 0.5, 0.9), method="b", variant="", recipe={"x": 1}, overrides={"x": 1})
    (board,) = store.boards()
    found = board.standings[0].rsum
    assert board.seeds == SeedVariance.pooled(row.sample for row in board.rows)
    assert found.spread == alone.spread
    assert found.interval.low < alone.interval.low < 300 < alone.interval.high < found.interval.high
    zero = Sample(0 * board.standings[0].row.scores, np.zeros(1), drawn=False)
    expected = compare(board.standings[0].row.sample, zero, board.seeds)  # against what is zero for sure
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))
