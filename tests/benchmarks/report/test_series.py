"""What charts draw: curves from stored ranks and histories, bars from the tables of ABLATIONS.md."""

import numpy as np
import pytest

from itm_harness.benchmarks.leaderboard.tables import Column, Interval, Page, Section, Spread, Table
from itm_harness.benchmarks.records.schema import Epoch
from itm_harness.benchmarks.report.series import KS, ablation_series, learning_curve, recall_curve
from itm_tests.stores import Store


def test_recall_curves_count_ranks_below_k_and_average_over_seeds():
    ranks = [np.array([0, 1, 1, 99]), np.array([0, 0, 5, 200])]
    curve = dict(zip(KS, recall_curve(ranks), strict=True))
    assert curve[1] == pytest.approx((25 + 50) / 2)
    assert curve[2] == pytest.approx((75 + 50) / 2)
    assert curve[6] == pytest.approx((75 + 75) / 2)
    assert curve[100] == pytest.approx((100 + 75) / 2)


def test_recall_curves_go_through_the_recalls_of_the_records():
    store = Store()
    record = store.add(0.3)
    curve = dict(zip(KS, recall_curve([store.details[record.id]["f8k-1k"].t2i_ranks]), strict=True))
    side = record.metrics["f8k-1k"].t2i
    assert [curve[1], curve[5], curve[10]] == [side.r1, side.r5, side.r10]


def test_learning_curves_average_the_seeds_that_were_evaluated():
    store = Store()
    one = [Epoch(epoch=0, dev_rsum=10.0), Epoch(epoch=1, dev_rsum=None), Epoch(epoch=2, dev_rsum=30.0)]
    records = [store.add(seed=0, history=one), store.add(seed=1, history=[Epoch(epoch=0, dev_rsum=20.0)])]
    assert learning_curve(records) == [[1, 15.0, 10.0, 20.0], [3, 30.0, 30.0, 30.0]]
    assert learning_curve([store.add(seed=2)]) == []


COLUMNS = [
    Column("Row", "row", left=True), Column("Variant and overrides", "overrides", left=True), Column("n", "seeds"),
    Column("rsum", "rsum"), Column("Change", "change"), Column("95 % interval", "change"),
    Column("Published change", "published_change"),
]  # fmt: skip


def table(*rows):
    return Table("t", "Parts", COLUMNS, rows, ["Learnt: much.", "Not run: absent; far.", "More."])


def test_bars_are_rows_that_were_run_and_the_others_are_named():
    part = ["part", "x=1", 2, Spread(90.0, 1.0), -10.0, Interval(-12.0, -8.0), -5.0]
    whole = ["all", "", 1, Spread(100.0, None), None, None, None]
    shown, nothing = table(whole, part), table(whole)
    page = Page("", "", (), [Section("gpo on demo", "demo-500: few.", [shown, nothing])])
    (found,) = ablation_series(page)
    assert found["bars"] == [
        {
            "label": "part",
            "change": -10.0,
            "low": -12.0,
            "high": -8.0,
            "seeds": 2,
            "published": -5.0,
            "overrides": "x=1",
        }
    ]
    assert found["missing"] == ["absent", "far"]
    assert found["about"] == ["gpo on demo, demo-500: few.", "Learnt: much."]
