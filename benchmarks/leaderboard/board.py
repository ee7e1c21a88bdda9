"""A benchmark's board: which rows stand on it, in which track, and what may be said of their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itm_harness.benchmarks.analysis.evidence import SeedVariance, Span, intervals, letters, rank_spans, significant
from itm_harness.benchmarks.leaderboard.rows import Row, Run, make_rows, on_one_test_set
from itm_harness.benchmarks.leaderboard.tables import Estimate, Interval

SEEDS = 3  # so many a trained row needs for a rank
NOT_LIKE_THE_OTHERS = {"simulated_inputs", "selected_on_test", "gallery_score"}  # marks of rows that are not ranked
ONE_MODEL, MORE_DATA, ENSEMBLES = "One model", "With extra pre-training or simulated inputs", "Ensembles"
TRACKS = (ONE_MODEL, MORE_DATA, ENSEMBLES)
SMOKE = "demo"  # its pictures and captions are drawn by this harness


@dataclass(frozen=True)
class Standing:
    """A row on a board. rank: None where it is not ranked. letters: two ranked rows of a track that share one do not
    differ. rsum: with its interval."""

    row: Row
    track: str
    rank: Span | None
    letters: str
    rsum: Estimate


@dataclass(frozen=True)
class Board:
    """A benchmark. rows: every row that was measured, overrides included, best first. seeds: how much theirs differ.
    standings: of shipped recipes.

    diverged: rows of runs that are listed apart. replaced: rows of an older recipe or other data. problems: a sentence
    for each run that cannot stand beside the others.
    """

    benchmark: str
    rows: list[Row]
    seeds: SeedVariance
    standings: list[Standing]
    diverged: list[Row]
    replaced: list[Row]
    problems: list[str]

    @property
    def is_smoke_test(self) -> bool:
        """Does its order hold for the generator of its data only?"""
        return any(row.first.dataset == SMOKE for row in (*self.rows, *self.diverged))


def boards_of(runs: Sequence[Run]) -> list[Board]:
    """Every benchmark that was measured: real data first, of a data set the whole gallery before its folds.

    runs: in the order of `make_runs`.
    """

    def place(board: Board) -> tuple[bool, str, int, str]:
        first = (board.rows or board.diverged)[0]
        return board.is_smoke_test, first.first.dataset, first.metrics[0].folds, board.benchmark

    return sorted((make_board(benchmark, runs) for benchmark in {b for run in runs for b in run.scores}), key=place)


def seed_variance(benchmark: str, runs: Sequence[Run]) -> SeedVariance:
    """How much seeds differ on a benchmark, over all rows of its board. runs: in the order of `make_runs`."""
    return SeedVariance.pooled(row.sample for row in _rows(benchmark, runs)[0])


def _rows(benchmark: str, runs: Sequence[Run]) -> tuple[list[Row], list[Row], list[str]]:
    """Rows, rows of diverged runs, and a sentence for each run that was measured on another test set."""
    fitting, problems = on_one_test_set(benchmark, [run for run in runs if benchmark in run.scores])
    rows = make_rows(benchmark, [run for run in fitting if not run.record.diverged])
    return rows, make_rows(benchmark, [run for run in fitting if run.record.diverged]), problems


def make_board(benchmark: str, runs: Sequence[Run]) -> Board:
    """runs: in the order of `make_runs`."""
    rows, diverged, problems = _rows(benchmark, runs)
    shipped = [row for row in rows if row.as_it_comes]
    newest = _newest(shipped)
    replaced = [row for row in shipped if row not in newest]
    seeds = SeedVariance.pooled(row.sample for row in rows)
    return Board(benchmark, rows, seeds, _standings(newest, seeds), diverged, replaced, problems)


def _newest(rows: Sequence[Row]) -> list[Row]:
    """Of rows that look alike the one with the newest record: the others are of an older recipe or other data."""
    found: dict[tuple, Row] = {}
    for row in rows:
        other = found.get(row.kind)
        if other is None or _made(row) > _made(other):
            found[row.kind] = row
    return [row for row in rows if found[row.kind] is row]


def _made(row: Row) -> tuple:
    return max(r.created for r in row.records), row.first.group_key


def track_of(row: Row) -> str:
    """Rows of one track are ranked against each other."""
    marks = set(row.first.flags)
    if "ensemble" in marks:
        return ENSEMBLES
    return MORE_DATA if marks & {"extra_pretraining", "simulated_inputs"} else ONE_MODEL


def is_ranked(row: Row) -> bool:
    """Are there seeds enough, and is it measured like the others?"""
    enough = len(row.records) >= SEEDS or not row.first.seeded
    return enough and not NOT_LIKE_THE_OTHERS & set(row.first.flags)


def _standings(rows: Sequence[Row], seeds: SeedVariance) -> list[Standing]:
    """By track, in each the ranked rows first. rows: best first."""
    if not rows:
        return []
    estimates = {
        row: Estimate(row.rsum, Interval(*map(float, bounds)))
        for row, bounds in zip(rows, intervals([row.sample for row in rows], seeds), strict=True)
    }
    standings = []
    for track in TRACKS:
        own = [row for row in rows if track_of(row) == track]
        ranked = [row for row in own if is_ranked(row)]
        for row, (span, group) in zip(ranked, _ranks(ranked, seeds), strict=True):
            standings.append(Standing(row, track, span, group, estimates[row]))
        standings += [Standing(row, track, None, "", estimates[row]) for row in own if not is_ranked(row)]
    return standings


def _ranks(rows: Sequence[Row], seeds: SeedVariance) -> list[tuple[Span, str]]:
    """Rank interval and letters of each row of a track. rows: best first."""
    if not rows:
        return []
    differ = significant([row.sample for row in rows], seeds)
    means = np.array([row.rsum.mean for row in rows])
    return list(zip(rank_spans(means, differ), letters(differ), strict=True))
