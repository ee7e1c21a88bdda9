"""Two records on one test set: differences with intervals, exact McNemar, the queries where they differ most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from itm_harness.benchmarks.analysis.statistics import Comparison, McNemar, compare, holm, image_recalls, mcnemar
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.opening import Opened
from itm_harness.benchmarks.records.schema import Details, Metrics

if TYPE_CHECKING:
    import pandas as pd

QUANTITIES = (*(f"{direction} R@{k}" for direction in ("i2t", "t2i") for k in (1, 5, 10)), "rsum")


@dataclass(frozen=True)
class Quantity:
    """A recall or the rsum of both records, in percent; the difference is first − second. adjusted: p after Holm."""

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
    """Both records on one benchmark.

    mcnemar: of images whose first caption is right. images, captions: the queries with the largest ratio of ranks.
    """

    benchmark: str
    quantities: list[Quantity]
    mcnemar: McNemar
    images: list[Query]
    captions: list[Query]

    def frame(self) -> pd.DataFrame:
        """A row per recall and for the rsum; columns as in `Quantity`, of its comparison low, high and p."""
        import pandas as pd  # half a second, which a command that prints should not wait

        rows = [{**vars(quantity), **vars(quantity.comparison)} for quantity in self.quantities]
        columns = ["name", "first", "second", "difference", "low", "high", "p", "adjusted"]
        return pd.DataFrame(rows, columns=columns).set_index("name")

    def mcnemar_sentence(self) -> str:
        """For people; the first is A, the second B."""
        m = self.mcnemar
        return f"image-level R@1, exact McNemar: only A {m.first_only}, only B {m.second_only}, p {shown_p(m.p)}"


def compare_records(first: Opened, second: Opened, queries: int = 10) -> list[BenchmarkComparison]:
    """Both records on every benchmark that they share. queries: how many of the most different ones.

    Raises RunError where they share none, or were measured on different test sets.
    """
    shared = [name for name in first.record.metrics if name in second.record.metrics]
    if not shared:
        raise RunError(
            f"{first.record.id} ({', '.join(first.record.metrics)}) and {second.record.id} "
            f"({', '.join(second.record.metrics)}) share no benchmark; compare records of one data set."
        )
    for name in shared:
        _require_one_test_set(name, first, second)
    return [_on(name, first.details[name], second.details[name], queries) for name in shared]


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


def _on(benchmark: str, first: Details, second: Details, queries: int) -> BenchmarkComparison:
    return BenchmarkComparison(
        benchmark=benchmark,
        quantities=_quantities(_with_rsum(first), _with_rsum(second)),
        mcnemar=mcnemar(first.i2t_ranks < 1, second.i2t_ranks < 1),
        images=most_different(first.i2t_ranks, second.i2t_ranks, queries),
        captions=most_different(first.t2i_ranks, second.t2i_ranks, queries),
    )


def _with_rsum(details: Details) -> np.ndarray:
    """(n_images, 7): shares of the six recalls and of their sum."""
    recalls = image_recalls(details)
    return np.column_stack([recalls, recalls.sum(axis=1)])


def _quantities(first: np.ndarray, second: np.ndarray) -> list[Quantity]:
    compared = compare(first, second)
    adjusted = holm(np.array([c.p for c in compared]))
    columns = zip(QUANTITIES, first.mean(axis=0), second.mean(axis=0), compared, adjusted, strict=True)
    return [Quantity(name, float(a), float(b), c, float(p)) for name, a, b, c, p in columns]


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
