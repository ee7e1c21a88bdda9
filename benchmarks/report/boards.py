"""The page's leaderboards: the tables of LEADERBOARD.md as one table per benchmark, whose columns come in views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from itm_harness.benchmarks.analysis.evidence import Span
from itm_harness.benchmarks.leaderboard.board import Standing
from itm_harness.benchmarks.leaderboard.origin import COST, ORIGIN
from itm_harness.benchmarks.leaderboard.rows import MARKS, overrides_text
from itm_harness.benchmarks.leaderboard.tables import Column, Estimate, Interval, Section, Spread, Table
from itm_harness.benchmarks.report.styles import Style, key_of

ALWAYS = "always"  # the view of columns that stand in every view
FIRST = ("Rank", "Group", "rsum (95 % interval)")  # these
COSTS = {column.key for column in COST} | {"training_minutes"}
VIEW_NAMES = {"headline": "Headline", "recalls": "Recalls", "origin": "How it came about", "cost": "What it cost"}
MARK_NAMES = {mark: words for mark, (words, _) in MARKS.items()}
IN_NAME = {"method", "track"}  # columns that the page shows beside the row's name


@dataclass(frozen=True)
class Head:
    """A column's heading. over: the direction of retrieval that it belongs to. left: text, not a number."""

    text: str
    over: str
    view: str
    left: bool


@dataclass(frozen=True)
class Cell:
    """text: as people read it. sort: what it is sorted by; None: always last."""

    text: str
    sort: float | str | None


@dataclass(frozen=True)
class Line:
    """A row. track: rows of one are ranked against each other. name: method and variant. text: its text encoder.

    cells: as the board's heads.
    """

    key: str
    track: str
    name: str
    overrides: str
    text: str
    marks: tuple[str, ...]
    style: Style
    cells: tuple[Cell, ...]

    @property
    def found(self) -> str:
        """Lower-case text that the search box looks in."""
        marks = [f"{MARK_NAMES[mark]} {MARKS[mark][1]}" for mark in self.marks]
        return " ".join([self.name, self.overrides, self.text, *marks]).lower()


@dataclass(frozen=True)
class PlainTable:
    """A table that is shown as it is."""

    title: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Board:
    """A benchmark. part: real data or smoke test. heads: of the cells of its lines. more: tables below."""

    benchmark: str
    part: str
    intro: str
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    more: tuple[PlainTable, ...]

    @property
    def tracks(self) -> list[tuple[str, list[Line]]]:
        """Its lines by track, in their order."""
        return [(track, list(lines)) for track, lines in groupby(self.lines, key=lambda line: line.track)]

    @property
    def texts(self) -> list[str]:
        """The text encoders of its rows."""
        return sorted({line.text for line in self.lines})

    @property
    def marks(self) -> list[tuple[str, str]]:
        """The marks of its rows, each with what it means."""
        used = {mark for line in self.lines for mark in line.marks}
        return [(mark, meaning) for mark, (_, meaning) in MARKS.items() if mark in used]

    @property
    def overs(self) -> list[tuple[str, str, int]]:
        """Neighbouring columns of one direction and view: direction, view, how many."""
        return [(*key, len(list(heads))) for key, heads in groupby(self.heads, key=lambda head: (head.over, head.view))]


@dataclass(frozen=True)
class _Filled:
    """A column with its values, top to bottom."""

    column: Column
    view: str
    values: tuple[Any, ...]


def make_board(section: Section, standings: Sequence[Standing], styles: Mapping[str, Style]) -> Board:
    """section: a benchmark of the leaderboard's page. standings: the rows of its measured tables, in their order.

    styles: by the key of a row.
    """
    measured = [table for table in section.tables if table.kind == "measured"]
    filled = _filled(measured)
    lines = [
        Line(
            key=key_of(standing.row),
            track=standing.track,
            name=str(standing.row.system),
            overrides=overrides_text(standing.row.overrides),
            text=standing.row.first.text,
            marks=standing.row.marks,
            style=styles[key_of(standing.row)],
            cells=tuple(_cell(f.column, f.values[i]) for f in filled),
        )
        for i, standing in enumerate(standings)
    ]
    notes = [note for table in measured[1:] for note in table.notes]
    more = [_plain(table) for table in section.tables if table.kind != "measured"]
    heads = [_head(f.column, f.view) for f in filled]
    return Board(section.title, section.part, section.intro, tuple(heads), tuple(lines), tuple(notes), tuple(more))


def _filled(measured: Sequence[Table]) -> list[_Filled]:
    """Every column that says something, once in a view; those of all views first."""
    found: dict[tuple[str, str], _Filled] = {}
    for table in measured:
        for number, column in enumerate(table.columns):
            values = tuple(row[number] for row in table.rows)
            says = column.heading in FIRST or any(value not in (None, "") for value in values)
            if column.key not in IN_NAME and says:
                for view in _views(column, headline=table is measured[0]):
                    found.setdefault((view, column.heading), _Filled(column, view, values))
    first = [found[ALWAYS, heading] for heading in FIRST if (ALWAYS, heading) in found]
    return first + [f for (view, _), f in found.items() if view != ALWAYS]


def _views(column: Column, headline: bool) -> list[str]:
    """Where a column stands; one of the headline that is a cost is among the costs, too."""
    if column.heading in FIRST:
        return [ALWAYS]
    if headline:
        return ["headline", "cost"] if column.key in COSTS else ["headline"]
    return [_view(column)]


def _view(column: Column) -> str:
    if column.key in COSTS:
        return "cost"
    return "origin" if column in ORIGIN else "recalls"


def _head(column: Column, view: str) -> Head:
    over, _, rest = column.heading.partition(" ")
    if over in ("i2t", "t2i"):
        return Head(rest, over, view, column.left)
    return Head(column.heading, "", view, column.left)


def _cell(column: Column, value: Any) -> Cell:
    return Cell(column.text(value), _sorted_by(value))


def _sorted_by(value: Any) -> float | str | None:
    match value:
        case None | "":
            return None
        case bool() | int() | float():
            return float(value)
        case Spread(mean, _) | Estimate(Spread(mean, _), _):
            return mean
        case Span(first, _):
            return float(first)
        case Interval(low, _):
            return low
    return str(value).lower()


def _plain(table: Table) -> PlainTable:
    kept = [number for number, column in enumerate(table.columns) if column.shown]
    heads = tuple(_head(table.columns[n], ALWAYS) for n in kept)
    rows = tuple(tuple(_cell(table.columns[n], row[n]) for n in kept) for row in table.rows)
    return PlainTable(table.title, heads, rows, tuple(table.notes))
