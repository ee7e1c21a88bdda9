"""The leaderboard's page: what stands in its tables, a pure function of the records and the published numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from itm_harness.benchmarks.analysis.statistics import intervals, significance_ranks
from itm_harness.benchmarks.leaderboard.eccv_table import PrintedECCV, eccv_table
from itm_harness.benchmarks.leaderboard.hosts import AgainstHost, against_hosts
from itm_harness.benchmarks.leaderboard.origin import COST, ORIGIN, cost, encoder_notes, origin, skipped_notes
from itm_harness.benchmarks.leaderboard.published import Published, name_words
from itm_harness.benchmarks.leaderboard.rows import MARKS, Row, Run, make_rows, on_one_test_set, overrides_shown
from itm_harness.benchmarks.leaderboard.tables import Column, Interval, Page, Section, Spread, Table
from itm_harness.benchmarks.protocol.judgements import BENCHMARK as JUDGED_BENCHMARK
from itm_harness.benchmarks.records.schema import Direction, Metrics

TITLE = "Leaderboard"
SOURCE = "Made from the records by `itm leaderboard`; do not edit."
ABOUT = (
    ("Protocol", "Rank of a query's right item = the number of items that score better or equal: a tie never helps. "
     "Image to text (i2t) takes the best of an image's captions. R@K in percent; medR is the median rank, from 1; rsum "
     "is the sum of the six recalls. Folds are consecutive and of equal size, and their metrics are averaged. Scores "
     "are pairwise unless marked."),
    ("Selection", "The epoch with the best dev rsum is tested, once; other rules are marked."),
    ("Rows", "Seeds of the same method, variant, data and recipe share a row: n seeds, mean ± sample standard "
     "deviation. An override of the recipe is a row of its own."),
    ("Rank", "1 + the number of rows that are significantly better in rsum: paired bootstrap over images, hits "
     "averaged over seeds, two-sided p < 0.05 after Holm's correction over all pairs of the table. With one seed its "
     "luck counts as a difference."),
    ("95 % interval", "Of the rsum: bootstrap over images, each with its captions, hits averaged over seeds. It tells "
     "of the choice of test images, ± of the choice of seed; neither contains the other."),
    ("Published", "The rsum as printed by its source, for the same method, setting, inputs and text encoder, without "
     "overrides and without simulated inputs; difference: ours minus published."),
    ("Against the host", "A method that extends another one, against that one with its own recipe: difference of "
     "rsum, its 95 % interval from the paired bootstrap over the same images, two-sided p, and p after Holm's "
     "correction over the table. The choice of seed is not in the interval: with one seed each, it adds to it."),
)  # fmt: skip

METHOD, OVERRIDES = Column("Method", "method", left=True), Column("Overrides", "overrides", left=True)
MARKED, SEEDS = Column("Marks", "marks", left=True), Column("n", "seeds")
RSUM = Column("rsum", "rsum")
INTERVAL, PUBLISHED = Column("95 % interval", "rsum"), Column("Published", "published")
RECALLS = [
    Column(f"{direction} R@{k}", f"{direction}_r{k}") for direction in ("i2t", "t2i") for k in (1, 5, 10)
]  # i2t, then t2i
MEDIANS = [Column(f"{direction} medR", f"{direction}_medr") for direction in ("i2t", "t2i")]
RESULTS = [
    Column("Rank", "rank"), METHOD, MARKED, OVERRIDES, Column("Text", "text", left=True), SEEDS,
    *RECALLS[:3], MEDIANS[0], *RECALLS[3:], MEDIANS[1], RSUM, INTERVAL, PUBLISHED,
    Column("Difference", "published_difference", signed=True),
]  # fmt: skip
HOST = [
    METHOD, OVERRIDES, Column("Host", "host", left=True), SEEDS, Column("Host n", "host_seeds"), RSUM,
    Column("Host rsum", "host_rsum"), Column("Difference", "difference", signed=True),
    Column("95 % interval", "difference", signed=True), Column("p", "p", 4), Column("p (Holm)", "p_holm", 4),
    Column("Differing settings", "differing", left=True),
]  # fmt: skip
DIVERGED = [METHOD, OVERRIDES, Column("Seed", "seed"), RSUM, Column("Why", "why", left=True)]
NO_ROW = ("These runs measure nothing of their methods: they have no rank and no part in a mean over seeds.",)
PRINTED = [
    METHOD, Column("Setting", "setting", left=True), Column("Image inputs", "features", left=True),
    Column("Text", "text", left=True), Column("Ensemble", "ensemble", left=True), *RECALLS, RSUM,
    Column("Source", "source", left=True),
]  # fmt: skip


def make_page(
    runs: Sequence[Run], published: Sequence[Published], judged: Sequence[PrintedECCV] = ()
) -> tuple[Page, list[str]]:
    """The page, and a sentence for each run that cannot stand beside the others. runs: in the order of `make_runs`.

    judged: what papers print of ECCV Caption.
    """
    measured = {b for run in runs for b in run.scores}
    benchmarks = sorted(measured | {p.benchmark for p in published}, key=lambda b: (b not in measured, b))
    sections, problems = [], []
    for benchmark in benchmarks:  # what was measured comes first
        fitting, sentences = on_one_test_set(benchmark, [run for run in runs if benchmark in run.scores])
        problems += sentences
        rows = make_rows(benchmark, [run for run in fitting if not run.record.diverged])
        diverged = make_rows(benchmark, [run for run in fitting if run.record.diverged])
        printed = [p for p in published if p.benchmark == benchmark]
        judged_here = judged if benchmark == JUDGED_BENCHMARK else ()
        sections.append(_section(benchmark, rows, diverged, printed, judged_here))
    return Page(TITLE, SOURCE, ABOUT, sections), problems


def _section(
    benchmark: str,
    rows: list[Row],
    diverged: list[Row],
    published: list[Published],
    judged: Sequence[PrintedECCV],
) -> Section:
    """diverged: rows of the runs that are listed apart."""
    shown = overrides_shown(rows)
    printed = [_diverged_table(diverged)] if diverged else []
    printed += [table for table in (eccv_table(rows, shown, judged),) if table]
    printed += [_published_table(published)] if published else []
    if not rows:
        why = (
            "Every run of this benchmark has diverged."
            if diverged
            else "No run of this benchmark has been recorded yet."
        )
        return Section(benchmark, why, printed)
    metrics = rows[0].metrics[0]
    about = {"images": metrics.n_images, "captions": metrics.n_texts, "folds": metrics.folds}
    against, lonely = against_hosts(rows)
    notes = [*encoder_notes(rows), *skipped_notes(rows)]
    tables = [
        _results_table(rows, shown, published),
        *([_host_table(against, dict(zip(map(id, rows), shown, strict=True)), lonely)] if against or lonely else []),
        _side_table("How the numbers came about", ORIGIN, rows, shown, origin, notes),
        _side_table("What they cost", COST, rows, shown, cost),
    ]
    return Section(benchmark, _size(metrics), [*tables, *printed], about)


def _size(metrics: Metrics) -> str:
    folds = (
        f"; mean of {metrics.folds} folds of {metrics.n_images // metrics.folds:,} images" if metrics.folds > 1 else ""
    )
    return f"{metrics.n_images:,} images, {metrics.n_texts:,} captions{folds}."


def _results_table(rows: list[Row], shown: list[str], published: list[Published]) -> Table:
    scores = np.stack([row.scores for row in rows], axis=1)  # (n_images, rows)
    ranks, bounds = significance_ranks(scores), intervals(scores)
    cells = [
        [rank, row.system, row.marked(), text, row.first.text, len(row.records), *_recalls(row), row.rsum,
         Interval(*map(float, bound)), *_published_beside(row, published)]
        for rank, bound, row, text in zip(ranks, bounds, rows, shown, strict=True)
    ]  # fmt: skip
    used = {mark for row in rows for mark in row.marks}
    legend = [f"{symbol} {meaning}." for mark, (symbol, meaning) in MARKS.items() if mark in used]
    return Table("measured", "Measured", RESULTS, cells, legend)


def _recalls(row: Row) -> list[float]:
    """R@1, 5, 10 and medR of i2t, then of t2i, means over seeds."""

    def values(side: Direction) -> list[float]:
        return [side.r1, side.r5, side.r10, side.median]

    return np.mean([[*values(m.i2t), *values(m.t2i)] for m in row.metrics], axis=0).tolist()


def _published_beside(row: Row, published: list[Published]) -> tuple[float | None, float | None]:
    """The printed rsum of the same system, and ours minus that; the best one, if sources differ."""
    printed = max((p.rsum for p in published if _reproduces(row, p)), default=None)
    return printed, None if printed is None else row.rsum.mean - printed


def _reproduces(row: Row, published: Published) -> bool:
    """Is it the same method, setting and inputs, as they come?"""
    r = row.first
    same_inputs = (r.features.lower(), r.text.lower()) == (published.features.lower(), published.text.lower())
    same_kind = ("ensemble" in r.flags) == published.ensemble and "simulated_inputs" not in r.flags
    same_name = name_words(f"{r.method} {r.variant}") - {r.text.lower()} == published.names
    return same_name and same_inputs and same_kind and row.as_it_comes


def _side_table(
    title: str,
    columns: Sequence[Column],
    rows: list[Row],
    shown: list[str],
    cells_of: Callable[[Row], list[Any]],
    notes: Sequence[str] = (),
) -> Table:
    """A table of the same rows as the results: its method and overrides repeat."""
    cells = [[row.system, text, *cells_of(row)] for row, text in zip(rows, shown, strict=True)]
    return Table("measured", title, [METHOD, OVERRIDES, *columns], cells, notes)


def _host_table(against: list[AgainstHost], shown: dict[int, str], lonely: list[str]) -> Table:
    """shown: id of a row -> its overrides as the results show them."""
    cells = [
        [a.row.system, shown[id(a.row)], str(a.host.system), len(a.row.records), len(a.host.records), a.row.rsum,
         a.host.rsum, a.comparison.difference, Interval(a.comparison.low, a.comparison.high), a.comparison.p,
         a.adjusted, a.differing]
        for a in against
    ]  # fmt: skip
    return Table("against_the_host", "Against the host", HOST, cells, lonely)


def _diverged_table(diverged: list[Row]) -> Table:
    """A line per run: seeds diverge for reasons of their own."""
    cells = [
        [row.system, text, record.seed, metrics.rsum, record.diverged]
        for row, text in zip(diverged, overrides_shown(diverged), strict=True)
        for record, metrics in zip(row.records, row.metrics, strict=True)
    ]
    return Table("diverged", "Diverged", DIVERGED, cells, NO_ROW)


def _published_table(published: list[Published]) -> Table:
    rows = sorted(published, key=lambda p: (-p.rsum, p.method, p.setting, p.features, p.text, p.source))
    cells = [
        [p.method, p.setting, p.features, p.text, p.ensemble, *p.recalls, Spread(p.rsum, None), p.source] for p in rows
    ]
    return Table("published", "Published", PRINTED, cells)
