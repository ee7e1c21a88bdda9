"""Tables whose cells are values: shown as text in pages, and given as numbers to other programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
class System:
    """A method and its variant, which need not be repeated where it has the method's name."""

    method: str
    variant: str

    def __str__(self) -> str:
        return f"{self.method} {self.variant}" if self.variant not in ("", self.method) else self.method


@dataclass(frozen=True)
class Marks:
    """Names of marks, and the symbols they are shown as."""

    names: tuple[str, ...]
    symbols: str


@dataclass(frozen=True)
class Column:
    """heading: in pages. key: in CSV and JSON. decimals, signed: of numbers in pages. left: text, not a number."""

    heading: str
    key: str
    decimals: int = 1
    signed: bool = False
    left: bool = False

    def text(self, value: Any) -> str:
        """A cell as people read it."""
        match value:
            case None | "":
                return NONE
            case bool():
                return "yes" if value else "no"
            case float():
                return self._number(value)
            case Spread(mean, std):
                return self._number(mean) + ("" if std is None else f" ± {std:.{self.decimals}f}")
            case Interval(low, high):
                return f"{self._number(low)} to {self._number(high)}"
            case Marks():
                return value.symbols
        return str(value)

    def data(self, value: Any) -> dict[str, Any]:
        """A cell as other programs read it: one or two keys."""
        match value:
            case float():
                return {self.key: round(value, DECIMALS)}
            case Spread(mean, std):
                return {
                    self.key: round(mean, DECIMALS),
                    f"{self.key}_std": None if std is None else round(std, DECIMALS),
                }
            case Interval(low, high):
                return {f"{self.key}_low": round(low, DECIMALS), f"{self.key}_high": round(high, DECIMALS)}
            case System(method, variant):
                return {self.key: method, "variant": variant}
            case Marks(names):
                return {self.key: " ".join(names)}
        return {self.key: value}

    def _number(self, value: float) -> str:
        text = f"{value:{'+' if self.signed else ''}.{self.decimals}f}"
        return text.replace("-", "+" if self.signed else "") if not any(c in "123456789" for c in text) else text


@dataclass(frozen=True)
class Table:
    """rows: a value per column. kind: tables of one kind tell of the same rows, in the same order. notes: below it."""

    kind: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str] = ()

    def texts(self) -> list[list[str]]:
        """Every cell as text."""
        return [[c.text(v) for c, v in zip(self.columns, row, strict=True)] for row in self.rows]

    def records(self) -> list[dict[str, Any]]:
        """Every row as key -> value."""
        return [_merged(c.data(v) for c, v in zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True)
class Section:
    """A benchmark. about: its sizes, for other programs."""

    title: str
    intro: str
    tables: Sequence[Table]
    about: dict[str, Any] = field(default_factory=dict)

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
