"""Tables whose cells are values: shown as text in pages, and given as numbers to other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from itm_harness.benchmarks.analysis.evidence import Span

NONE = "–"  # noqa: RUF001
DECIMALS = 4  # of numbers for other programs: one format, so that the same records give the same bytes


@dataclass(frozen=True)
class Spread:
    """Mean over seeds and sample standard deviation; None for a single seed."""

    mean: float
    std: float | None


@dataclass(frozen=True)
class Interval:
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % interval and, beside it for other programs, the deviation of its seeds."""

    spread: Spread
    interval: Interval


@dataclass(frozen=True)
class System:
    """A method and its variant, which need not be repeated where it has the method's name."""

    method: str
    variant: str

    def __str__(self) -> str:
        return f"{self.method} {self.variant}" if self.variant not in ("", self.method) else self.method


@dataclass(frozen=True)
class Marked:
    """A system with what sets it apart: names of marks, and the words that they are shown as."""

    system: System
    marks: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.system} ({', '.join(self.words)})" if self.words else str(self.system)


@dataclass(frozen=True)
class Link:
    """A text that leads to a file beside the page."""

    text: str
    target: str


@dataclass(frozen=True)
class Column:
    """heading: in pages. key: in CSV and JSON. decimals, signed: of numbers in pages. left: text, not a number.

    missing: what stands in pages where there is no value. least: what a smaller number is told to be less than.
    shown: in pages, too? group: in pages its values stand above the rows that share them.
    """

    heading: str
    key: str
    decimals: int = 1
    signed: bool = False
    left: bool = False
    missing: str = NONE
    least: float | None = None
    shown: bool = True
    group: bool = False

    def in_data(self) -> Column:
        """The same for other programs alone."""
        return replace(self, shown=False)

    def text(self, value: Any) -> str:
        """A cell as people read it."""
        match value:
            case None | "" | ():
                return self.missing
            case bool():
                return "yes" if value else "no"
            case float() if self.least is not None and value < self.least:
                return f"< {self.least:.{self.decimals}f}"
            case float():
                return self._number(value)
            case Spread(mean, std):
                return self._number(mean) + ("" if std is None else f" ± {std:.{self.decimals}f}")
            case Interval(low, high):
                return f"{self._number(low)} to {self._number(high)}"
            case Estimate(spread, interval):
                return f"{self._number(spread.mean)} ({self.text(interval)})"
            case Span(first, last):
                return str(first) if first == last else f"{first}–{last}"  # noqa: RUF001
            case tuple():
                return " ".join(link.text for link in value)
        return str(value)

    def data(self, value: Any) -> dict[str, Any]:
        """A cell as other programs read it: one key or several."""
        match value:
            case float() if self.least is not None:
                return {self.key: float(f"{value:.{DECIMALS}g}")}
            case float():
                return {self.key: round(value, DECIMALS)}
            case Spread(mean, std):
                return {
                    self.key: round(mean, DECIMALS),
                    f"{self.key}_std": None if std is None else round(std, DECIMALS),
                }
            case Interval(low, high):
                return {f"{self.key}_low": round(low, DECIMALS), f"{self.key}_high": round(high, DECIMALS)}
            case Estimate(spread, interval):
                return self.data(spread) | self.data(interval)
            case Span(first, last):
                return {self.key: first, f"{self.key}_last": last}
            case System(method, variant):
                return {self.key: method, "variant": variant}
            case Marked(system, marks):
                return self.data(system) | {"marks": " ".join(marks)}
            case tuple():
                return {self.key: " ".join(link.target for link in value)}
        return {self.key: value}

    def _number(self, value: float) -> str:
        text = f"{value:{'+' if self.signed else ''}.{self.decimals}f}"
        return text.replace("-", "+" if self.signed else "") if not any(c in "123456789" for c in text) else text


@dataclass(frozen=True)
class Visible:
    """What pages show of a table. groups: position of a row -> what stands above it. left_out: rows at the end."""

    columns: list[Column]
    rows: list[list[Any]]
    groups: dict[int, str]
    notes: list[str]
    left_out: int


@dataclass(frozen=True)
class Table:
    """rows: a value per column. kind: tables of one kind tell of the same rows, in the same order. notes: below it.

    first: how many rows pages show, None = all. shares: in pages columns that say the same in every row stand below.
    """

    kind: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()
    first: int | None = None
    shares: bool = False

    def visible(self) -> Visible:
        """What pages show."""
        rows = self.rows[: self.first]
        values = list(zip(*rows, strict=True)) or [()] * len(self.columns)
        same = [self.shares and len(rows) > 1 and n > 0 and len(set(v)) == 1 for n, v in enumerate(values)]
        kept = [n for n, c in enumerate(self.columns) if c.shown and not c.group and not same[n]]
        shared = [
            f"{c.heading}: {c.text(v[0])}"
            for c, v, alike in zip(self.columns, values, same, strict=True)
            if alike and c.shown and c.text(v[0]) != c.missing
        ]
        return Visible(
            [self.columns[n] for n in kept],
            [[row[n] for n in kept] for row in rows],
            self._groups(rows),
            [*([f"In all rows: {'; '.join(shared)}."] if shared else []), *self.notes],
            len(self.rows) - len(rows),
        )

    def _groups(self, rows: Sequence[Sequence[Any]]) -> dict[int, str]:
        found: dict[int, str] = {}
        for number, column in enumerate(self.columns):
            if column.group:
                values = [None, *(row[number] for row in rows)]
                found |= {n: str(value) for n, (before, value) in enumerate(pairwise(values)) if value != before}
        return found

    def records(self) -> list[dict[str, Any]]:
        """Every row as key -> value."""
        return [_merged(c.data(v) for c, v in zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True)
class Section:
    """A benchmark. about: its sizes, for other programs. part: the heading of its part of the page, "" = none.

    shown: in pages, too?
    """

    title: str
    intro: str
    tables: Sequence[Table]
    about: dict[str, Any] = field(default_factory=dict)
    part: str = ""
    shown: bool = True

    def data(self) -> dict[str, list[dict[str, Any]]]:
        """Kind -> its rows, the columns of all tables of that kind together."""
        kinds: dict[str, list[dict[str, Any]]] = {}
        for table in self.tables:
            rows = kinds.setdefault(table.kind, [{} for _ in table.rows])
            for row, more in zip(rows, table.records(), strict=True):
                row.update(more)
        return kinds


@dataclass(frozen=True)
class Page:
    """about: term and explanation."""

    title: str
    source: str
    about: Sequence[tuple[str, str]]
    sections: Sequence[Section]

    def rows(self) -> list[dict[str, Any]]:
        """The rows of all kinds, each with its benchmark and kind; a key that a kind has not is left out."""
        return [
            {"benchmark": section.title, "kind": kind, **row}
            for section in self.sections
            for kind, rows in section.data().items()
            for row in rows
        ]


def _merged(parts: Any) -> dict[str, Any]:
    return {key: value for part in parts for key, value in part.items()}
