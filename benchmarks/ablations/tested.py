"""One table of changes, each tested against the recipe as it is, with a sentence of what was learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itm_harness.benchmarks.ablations.sets import RECALLS
from itm_harness.benchmarks.analysis.evidence import Comparison, SeedVariance, compare, holm
from itm_harness.benchmarks.analysis.student import LEVEL
from itm_harness.benchmarks.leaderboard.rows import MARKS, Row
from itm_harness.benchmarks.leaderboard.tables import Column, Interval, Table

CHANGE = Column("Change", "change", signed=True)
COLUMNS = [
    Column("Row", "row", left=True), Column("Variant and overrides", "overrides", left=True),
    Column("Seeds", "seeds"), Column("i2t R@1", "i2t_r1"), Column("t2i R@1", "t2i_r1"), Column("rsum", "rsum"),
    CHANGE, Column("95 % interval", "change", signed=True), Column("p (Holm)", "p_holm", 4, least=1e-4),
]  # fmt: skip
PUBLISHED = Column("Published change", "published_change", signed=True)
OURS = Column("Our change", "our_change", signed=True)


@dataclass(frozen=True)
class Change:
    """A row that was run. shown: its variant and overrides. printed: the published change; None: there is none."""

    label: str
    shown: str
    row: Row
    printed: float | None = None


@dataclass(frozen=True)
class Tested:
    """A change against the full row. adjusted: p after Holm's correction over the table."""

    change: Change
    comparison: Comparison
    adjusted: float

    @property
    def is_sure(self) -> bool:
        """Is it more than chance? Unknown where nothing tells how much seeds differ."""
        return self.adjusted < LEVEL and self.comparison.seeds_counted


def tested_table(
    title: str,
    full: Change | None,
    changes: Sequence[Change],
    seeds: SeedVariance,
    notes: Sequence[str],
    printed: Sequence[str],
) -> Table:
    """The full row first. full: None where it was not run. seeds: how much those of the benchmark differ.

    printed: the recalls whose sum published changes are of.
    """
    tested = _tested(full.row, changes, seeds) if full else []
    columns, beside = [*COLUMNS], any(change.printed is not None for change in changes)
    if beside:
        columns += [PUBLISHED] if len(printed) == len(RECALLS) else [PUBLISHED, OURS]
    cells = [[full.label, full.shown, *_means(full.row), None, None, None]] if full else []
    for change, test in zip(changes, tested or [None] * len(changes), strict=True):
        cells.append([_marked(change, full), change.shown, *_means(change.row), *_test_cells(test)])
    if beside:
        extra = [[change.printed, _same_recalls(change, full, printed)] for change in changes]
        extra = [[None, None]] * (len(cells) - len(changes)) + extra
        cells = [row + more[: len(columns) - len(COLUMNS)] for row, more in zip(cells, extra, strict=True)]
    return Table("ablation", title, columns, cells, [learnt(tested, full is not None), *notes])


def _tested(full: Row, changes: Sequence[Change], seeds: SeedVariance) -> list[Tested]:
    compared = [compare(change.row.sample, full.sample, seeds) for change in changes]
    adjusted = holm(np.array([c.p for c in compared]))
    return [Tested(*one) for one in zip(changes, compared, map(float, adjusted), strict=True)]


def _means(row: Row) -> list[object]:
    recalls = recall_means(row)
    return [len(row.records), recalls["i2t_r1"], recalls["t2i_r1"], row.rsum]


def recall_means(row: Row) -> dict[str, float]:
    """Means over seeds, by the names of RECALLS."""
    return {name: float(np.mean([getattr(getattr(m, name[:3]), name[4:]) for m in row.metrics])) for name in RECALLS}


def _marked(change: Change, full: Change | None) -> str:
    """A label with the words of marks that the full row has not."""
    known = full.row.marks if full else ()
    words = [MARKS[mark][0] for mark in change.row.marks if mark not in known]
    return f"{change.label} ({', '.join(words)})" if words else change.label


def _test_cells(test: Tested | None) -> list[object]:
    if test is None:
        return [None, None, None]
    c = test.comparison
    return [c.difference, Interval(c.low, c.high), test.adjusted]


def _same_recalls(change: Change, full: Change | None, names: Sequence[str]) -> float | None:
    """Our change of the sum of these recalls."""
    if full is None:
        return None
    ours, whole = recall_means(change.row), recall_means(full.row)
    return sum(ours[name] - whole[name] for name in names)


def learnt(tested: Sequence[Tested], has_full: bool = True) -> str:
    """One sentence: which changes do something, or that nothing can be told."""
    if not has_full:
        return "Learnt: nothing can be told, because the full row was not run."
    sure = [test for test in tested if test.is_sure]
    if not sure:
        return "Learnt: nothing can be told; no change differs from the full row by more than chance."
    told = [f"{t.change.label} ({CHANGE.text(t.comparison.difference)})" for t in sure]
    rest = [t.change.label for t in tested if not t.is_sure]
    others = " and ".join(rest) if len(rest) < 3 else f"the other {len(rest)}"
    more = f"; of {others} nothing can be told" if rest else ""
    return f"Learnt: rsum changes by {', '.join(told)}{more}."
