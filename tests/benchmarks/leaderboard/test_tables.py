"""Cells: what people read, and what other programs get."""

import pytest

from itm_harness.benchmarks.analysis.evidence import Span
from itm_harness.benchmarks.leaderboard.tables import (
    Column,
    Estimate,
    Interval,
    Link,
    Marked,
    Section,
    Spread,
    System,
    Table,
)

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
        (
            Column("Method", "method"),
            Marked(System("gpo", ""), ("last", "imported"), ("last epoch", "imported")),
            "gpo (last epoch, imported)",
            {"method": "gpo", "variant": "", "marks": "last imported"},
        ),
        (Column("Method", "method"), Marked(System("gpo", "")), "gpo", {"method": "gpo", "variant": "", "marks": ""}),
        (Column("p", "p", 4, least=1e-4), 0.00012, "0.0001", {"p": 0.00012}),
        (Column("p", "p", 4, least=1e-4), 0.00002345678, "< 0.0001", {"p": 2.346e-05}),
        (Column("Rank", "rank"), Span(1, 3), "1–3", {"rank": 1, "rank_last": 3}),  # noqa: RUF001
        (Column("Rank", "rank"), Span(2, 2), "2", {"rank": 2, "rank_last": 2}),
        (Column("Rank", "rank", missing="unranked"), None, "unranked", {"rank": None}),
        (
            RSUM,
            Estimate(Spread(391.16, 2.04), Interval(380.04, 400.06)),
            "391.2 (380.0 to 400.1)",
            {"rsum": 391.16, "rsum_std": 2.04, "rsum_low": 380.04, "rsum_high": 400.06},
        ),
        (
            Column("Records", "records"),
            (Link("0", "records/a.json"), Link("1", "records/b.json")),
            "0 1",
            {"records": "records/a.json records/b.json"},
        ),
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


def test_pages_show_the_columns_that_tell_rows_apart():
    columns = [
        Column("Track", "track", group=True), Column("Method", "method", left=True), Column("Score", "score"),
        Column("Secret", "secret", shown=False), Column("GPU", "gpu"), RSUM,
    ]  # fmt: skip
    rows = [
        ["one model", "a", "pairwise", 1, None, 2.0],
        ["one model", "b", "pairwise", 2, None, 1.0],
        ["ensembles", "c", "pairwise", 3, None, 3.0],
    ]
    table = Table("t", "T", columns, rows, ["a note"], shares=True)
    seen = table.visible()
    assert [c.heading for c in seen.columns] == ["Method", "rsum"]
    assert seen.rows == [["a", 2.0], ["b", 1.0], ["c", 3.0]]
    assert seen.groups == {0: "one model", 2: "ensembles"}
    assert seen.notes == ["In all rows: Score: pairwise.", "a note"]  # and nothing of what no row has
    assert table.records()[2] == {
        "track": "ensembles", "method": "c", "score": "pairwise", "secret": 3, "gpu": None, "rsum": 3.0,
    }  # fmt: skip


def test_pages_show_the_first_rows_and_other_programs_all():
    table = Table("t", "T", [RSUM], [[3.0], [2.0], [1.0]], first=2)
    assert (table.visible().rows, table.visible().left_out, len(table.records())) == ([[3.0], [2.0]], 1, 3)
