"""Cells: what people read, and what other programs get."""

import pytest

from itm_harness.benchmarks.leaderboard.tables import Column, Interval, Marks, Section, Spread, System, Table

RSUM, GAIN = Column("rsum", "rsum"), Column("Difference", "gain", signed=True)


@pytest.mark.parametrize(
    ("column", "value", "text", "data"),
    [
        (RSUM, 391.12, "391.1", {"rsum": 391.12}),
        (RSUM, 1 / 3, "0.3", {"rsum": 0.3333}),
        (RSUM, Spread(391.16, None), "391.2", {"rsum": 391.16, "rsum_std": None}),
        (RSUM, Spread(391.16, 2.04), "391.2 ± 2.0", {"rsum": 391.16, "rsum_std": 2.04}),
        (RSUM, Interval(380.04, 400.06), "380.0 to 400.1", {"rsum_low": 380.04, "rsum_high": 400.06}),
        (GAIN, Interval(-1.2, 3.0), "-1.2 to +3.0", {"gain_low": -1.2, "gain_high": 3.0}),
        (GAIN, 10.0, "+10.0", {"gain": 10.0}),
        (GAIN, -0.04, "+0.0", {"gain": -0.04}),
        (RSUM, -0.04, "0.0", {"rsum": -0.04}),
        (RSUM, None, "–", {"rsum": None}),  # noqa: RUF001
        (RSUM, "", "–", {"rsum": ""}),  # noqa: RUF001
        (RSUM, True, "yes", {"rsum": True}),
        (RSUM, 3, "3", {"rsum": 3}),
        (Column("p", "p", 4), 0.0002, "0.0002", {"p": 0.0002}),
        (Column("Method", "method"), System("gsmn", "dense"), "gsmn dense", {"method": "gsmn", "variant": "dense"}),
        (Column("Method", "method"), System("gpo", "gpo"), "gpo", {"method": "gpo", "variant": "gpo"}),
        (Column("Marks", "marks"), Marks(("last", "stale"), "△◇"), "△◇", {"marks": "last stale"}),
    ],
)
def test_a_cell_as_text_and_as_data(column, value, text, data):
    assert column.text(value) == text
    assert column.data(value) == data


def test_tables_of_one_kind_are_one_row_for_other_programs():
    method, rows = Column("Method", "method"), [System("a", ""), System("b", "")]
    results = Table("measured", "Results", [method, RSUM], [[rows[0], 1.0], [rows[1], 2.0]])
    printed = Table("published", "Published", [method], [["X"]])
    cost = Table("measured", "Cost", [method, Column("Minutes", "minutes")], [[rows[0], 7.0], [rows[1], None]])
    assert Section("f8k-1k", "", [results, printed, cost]).data() == {
        "measured": [
            {"method": "a", "variant": "", "rsum": 1.0, "minutes": 7.0},
            {"method": "b", "variant": "", "rsum": 2.0, "minutes": None},
        ],
        "published": [{"method": "X"}],
    }
