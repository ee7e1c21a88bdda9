"""How much of a difference is chance? Seeds against each other, and the smallest difference that a board can show.

Of every row of several seeds each seed is set against each other one: what differs is luck alone, so that a test at
5 % should find a difference in 5 of 100 pairs (an A/A test). How much seeds differ is taken from the other rows: those
of the pair itself must not have a say in their own test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itm_harness.benchmarks.analysis.evidence import Sample, SeedVariance, pairwise_p, smallest_differences
from itm_harness.benchmarks.analysis.student import LEVEL
from itm_harness.benchmarks.leaderboard.board import Board, is_ranked, track_of
from itm_harness.benchmarks.leaderboard.rows import Row

NOTHING = SeedVariance(0.0, 0)


@dataclass(frozen=True)
class Chance:
    """A board. rows: with several seeds. pairs: of single seeds of a row. found: those that differ by the board's
    evidence. found_by_images: those that differ where the choice of images alone counts.

    deviation: of seeds, pooled over the rows. smallest, smallest_holm: the rsum by which two of these rows must
    differ, median over all pairs of rows, for one test alone and for the first step of Holm's correction over `tests`,
    the pairs of the longest track.
    """

    benchmark: str
    rows: int
    pairs: int
    found: int
    found_by_images: int
    deviation: float
    smallest: float
    smallest_holm: float
    tests: int


def chance_of(board: Board) -> Chance | None:
    """None where fewer than two rows have several seeds."""
    rows = [row for row in board.rows if row.sample.freedom]
    if len(rows) < 2:
        return None
    found = found_by_images = pairs = 0
    for row in rows:
        singles = _singles(row)
        others = SeedVariance.pooled(other.sample for other in rows if other is not row)
        found += _differing(singles, others)
        found_by_images += _differing(singles, NOTHING)
        pairs += len(singles) * (len(singles) - 1) // 2
    tests = _tests(board)
    return Chance(
        benchmark=board.benchmark,
        rows=len(rows),
        pairs=pairs,
        found=found,
        found_by_images=found_by_images,
        deviation=float(np.sqrt(board.seeds.variance)),
        smallest=_smallest(board, rows, LEVEL),
        smallest_holm=_smallest(board, rows, LEVEL / tests),
        tests=tests,
    )


def _singles(row: Row) -> list[Sample]:
    """Each seed as a row of its own."""
    return [Sample(run.scores[row.benchmark], np.array([m.rsum])) for run, m in zip(row.runs, row.metrics, strict=True)]


def _differing(samples: Sequence[Sample], seeds: SeedVariance) -> int:
    """How many pairs differ at the level of one test."""
    return int(np.triu(pairwise_p(samples, seeds) < LEVEL, k=1).sum())


def _smallest(board: Board, rows: Sequence[Row], level: float) -> float:
    """By so much rows must differ: median over all pairs."""
    found = smallest_differences([row.sample for row in rows], board.seeds, level)
    return float(np.median(found[np.triu_indices(len(rows), k=1)]))


def _tests(board: Board) -> int:
    """The pairs of the longest track, at least one."""
    ranked = [track_of(s.row) for s in board.standings if is_ranked(s.row)]
    longest = max((ranked.count(track) for track in set(ranked)), default=0)
    return max(1, longest * (longest - 1) // 2)
