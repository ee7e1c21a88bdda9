"""Two rows, or two single records, on one test set: differences with intervals and p.

Of single records also exact McNemar, and the queries where they differ most.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from itm_harness.benchmarks.analysis.evidence import Comparison, Sample, SeedVariance, compare, holm
from itm_harness.benchmarks.analysis.statistics import McNemar, image_recalls, mcnemar
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.opening import Opened
from itm_harness.benchmarks.records.schema import TRANSFER, Metrics, Record

if TYPE_CHECKING:
    import pandas as pd

SEEDS_NOT_COUNTED = "Only the choice of test images is in the intervals and p, not the choice of seeds."
QUANTITIES = (*(f"{direction} R@{k}" for direction in ("i2t", "t2i") for k in (1, 5, 10)), "rsum")


@dataclass(frozen=True)
class Quantity:
    """A recall or the rsum of both rows, in percent; the difference is first − second. adjusted: p after Holm."""

    name: str
    first: float
    second: float
    comparison: Comparison
    adjusted: float

    def row(self) -> tuple[str, ...]:
        """For people: name, first, second, difference, interval, p, adjusted p."""
        c = self.comparison
        numbers = f"{self.first:.1f}", f"{self.second:.1f}", f"{c.difference:+.1f}"
        return self.name, *numbers, f"{c.low:+.1f} to {c.high:+.1f}", shown_p(c.p), shown_p(self.adjusted)


@dataclass(frozen=True)
class Query:
    """A query by its position in the test split, and the rank of its right item in each record, from 1."""

    position: int
    first: int
    second: int


@dataclass(frozen=True)
class BenchmarkComparison:
    """Two rows on one benchmark. seeds_counted: is the choice of seeds in the intervals?

    Of single records alone: mcnemar, of images whose first caption is right; images, captions, the queries with the
    largest ratio of ranks.
    """

    benchmark: str
    quantities: list[Quantity]
    seeds_counted: bool
    mcnemar: McNemar | None
    images: list[Query]
    captions: list[Query]

    def frame(self) -> pd.DataFrame:
        """A row per recall and for the rsum; columns as in `Quantity`, of its comparison low, high and p."""
        import pandas as pd  # half a second, which a command that prints should not wait

        rows = [{**vars(quantity), **vars(quantity.comparison)} for quantity in self.quantities]
        columns = ["name", "first", "second", "difference", "low", "high", "p", "adjusted"]
        return pd.DataFrame(rows, columns=columns).set_index("name")

    def sentences(self) -> list[str]:
        """What the numbers do not say, for people; the first is A, the second B."""
        said = [] if self.seeds_counted else [SEEDS_NOT_COUNTED]
        if m := self.mcnemar:
            only = f"only A {m.first_only}, only B {m.second_only}"
            said.append(f"image-level R@1, exact McNemar: {only}, p {shown_p(m.p)}")
        return said


def compare_rows(
    first: Sequence[Opened], second: Sequence[Opened], beside: Sequence[Record] | None = (), queries: int = 10
) -> list[BenchmarkComparison]:
    """Two rows, each the records of its seeds, on every benchmark that they share.

    beside: further records, whose seeds tell how much seeds differ; None = seeds are not counted. queries: how many of
    the most different ones, of rows of one record each. Raises RunError where the rows share no benchmark, or were
    measured on different test sets.
    """
    one, other = first[0].record, second[0].record
    shared = [name for name in one.metrics if name in other.metrics]
    if not shared:
        raise RunError(
            f"{one.id} ({', '.join(one.metrics)}) and {other.id} ({', '.join(other.metrics)}) share no benchmark; "
            f"compare records of one data set."
        )
    for name in shared:
        for opened in (*first[1:], *second):
            _require_one_test_set(name, first[0], opened)
    known = {}
    if beside is not None:
        known = {record.id: record for record in (*beside, *(opened.record for opened in (*first, *second)))}
    return [_on(name, first, second, seed_variances(name, one, known.values()), queries) for name in shared]


def seed_variances(benchmark: str, like: Record, records: Iterable[Record]) -> list[SeedVariance]:
    """Of each of QUANTITIES, over the rows of records that were measured on a test set of the same size as `like`."""
    rows: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        counts = record.diverged is None and TRANSFER not in record.flags
        if counts and _size(record, benchmark) == _size(like, benchmark):
            rows[record.group_key].append(record)
    values = {key: np.array([_values(r.metrics[benchmark]) for r in row]) for key, row in rows.items()}
    return [
        SeedVariance.pooled(Sample(np.empty(0), values[key][:, q], row[0].seeded) for key, row in rows.items())
        for q in range(len(QUANTITIES))
    ]


def _size(record: Record, benchmark: str) -> tuple[int, int, int] | None:
    m = record.metrics.get(benchmark)
    return None if m is None else (m.n_images, m.n_texts, m.folds)


def _values(m: Metrics) -> list[float]:
    """By QUANTITIES."""
    return [*(getattr(side, f"r{k}") for side in (m.i2t, m.t2i) for k in (1, 5, 10)), m.rsum]


def _require_one_test_set(benchmark: str, first: Opened, second: Opened) -> None:
    def size(m: Metrics) -> str:
        return f"{m.n_images:,} images and {m.n_texts:,} captions in {m.folds} fold{'s' if m.folds > 1 else ''}"

    sizes = [size(opened.record.metrics[benchmark]) for opened in (first, second)]
    owners = [opened.details[benchmark].image_of_text for opened in (first, second)]
    if sizes[0] != sizes[1] or not np.array_equal(*owners):
        what = f"{sizes[0]}, and {sizes[1]}" if sizes[0] != sizes[1] else "their captions belong to other images"
        raise RunError(
            f"{benchmark}: {first.record.id} and {second.record.id} were measured on different data ({what}); "
            f"compare records of the same test set."
        )


def _on(
    benchmark: str, first: Sequence[Opened], second: Sequence[Opened], seeds: Sequence[SeedVariance], queries: int
) -> BenchmarkComparison:
    quantities = _quantities(_samples(benchmark, first), _samples(benchmark, second), seeds)
    counted = quantities[0].comparison.seeds_counted
    if len(first) > 1 or len(second) > 1:
        return BenchmarkComparison(benchmark, quantities, counted, None, [], [])
    (a,), (b,) = ([opened.details[benchmark] for opened in row] for row in (first, second))
    return BenchmarkComparison(
        benchmark,
        quantities,
        counted,
        mcnemar(a.i2t_ranks < 1, b.i2t_ranks < 1),
        images=most_different(a.i2t_ranks, b.i2t_ranks, queries),
        captions=most_different(a.t2i_ranks, b.t2i_ranks, queries),
    )


def _samples(benchmark: str, row: Sequence[Opened]) -> list[Sample]:
    """Of each of QUANTITIES."""
    shares = np.stack([_shares(opened, benchmark) for opened in row])  # (seeds, n_images, 7)
    drawn = row[0].record.seeded
    return [Sample(shares[:, :, q].mean(axis=0), shares[:, :, q].mean(axis=1), drawn) for q in range(len(QUANTITIES))]


def _shares(opened: Opened, benchmark: str) -> np.ndarray:
    """(n_images, 7): shares of the six recalls and of their sum."""
    recalls = image_recalls(opened.details[benchmark], opened.record.metrics[benchmark].folds)
    return np.column_stack([recalls, recalls.sum(axis=1)])


def _quantities(first: Sequence[Sample], second: Sequence[Sample], seeds: Sequence[SeedVariance]) -> list[Quantity]:
    compared = [compare(*each) for each in zip(first, second, seeds, strict=True)]
    adjusted = holm(np.array([c.p for c in compared]))
    columns = zip(QUANTITIES, first, second, compared, adjusted, strict=True)
    return [Quantity(name, float(a.scores.mean()), float(b.scores.mean()), c, float(p)) for name, a, b, c, p in columns]


def shown_p(p: float) -> str:
    """Four decimals, or that it is smaller."""
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def most_different(first: np.ndarray, second: np.ndarray, count: int) -> list[Query]:
    """The queries with the largest ratio of ranks (from 1): rank 1 against 50 says more than 400 against 900.

    first, second: (n,) ranks from 0. Equal ratios in the order of positions; queries of equal ranks never.
    """
    ratio = np.abs(np.log((first + 1.0) / (second + 1.0)))
    order = np.argsort(-ratio, kind="stable")[:count]
    return [Query(int(i), int(first[i]) + 1, int(second[i]) + 1) for i in order if ratio[i] > 0]
