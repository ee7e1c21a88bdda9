"""The leaderboard's page: what stands in its tables, a pure function of the records and the published numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from itm_harness.benchmarks.leaderboard.board import SEEDS, Board, Standing
from itm_harness.benchmarks.leaderboard.eccv_table import PrintedECCV, eccv_table
from itm_harness.benchmarks.leaderboard.hosts import AgainstHost, against_hosts, hosts_of
from itm_harness.benchmarks.leaderboard.origin import (
    COST,
    ORIGIN,
    cost,
    encoder_notes,
    mixed_notes,
    origin,
    skipped_notes,
    width,
)
from itm_harness.benchmarks.leaderboard.published import Published, is_repeated_by
from itm_harness.benchmarks.leaderboard.rows import MARKS, Row, overrides_text
from itm_harness.benchmarks.leaderboard.tables import Column, Interval, Page, Section, Table
from itm_harness.benchmarks.records.schema import JUDGED_BENCHMARK, Direction, Metrics

TITLE = "Leaderboard"
SOURCE = "Made from the records by `itm leaderboard`; do not edit."
REAL, SMOKE_TEST = "Real data", "Smoke test: ranks hold for this generator only"
ABOUT = (
    ("Protocol", "A rank counts the items that score better or equal: a tie never helps. i2t takes the best of an "
     "image's captions; R@K in percent; rsum is the sum of the six recalls. The epoch with the best dev rsum is "
     "tested, once. Words in brackets behind a method say what is unusual; they are explained below its table."),
    ("Rows", "All seeds of a shipped recipe. Recipes with overrides stand in ABLATIONS.md. Brackets behind an rsum: "
     "95 % interval over test images and seeds."),
    ("Rank", "From 1 + the number of rows that are significantly better to the number of rows less that of the "
     "significantly worse, within a track. A difference is significant at 5 %, after Holm's correction over the "
     "track, by Student's t; its variance is that of the image differences and that between seeds, "
     "pooled over the benchmark. Rows that share a "
     f"letter do not differ. Rows of fewer than {SEEDS} seeds, with simulated inputs, a score of the whole gallery or "
     "an epoch chosen on test are listed unranked."),
    ("Published", "Difference: ours minus the printed rsum, for the same method, setting, inputs and text encoder."),
)  # fmt: skip

METHOD, SEED_COUNT, TRACK = (
    Column("Method", "method", left=True),
    Column("Seeds", "seeds"),
    Column("Track", "track", group=True),
)
RSUM = Column("rsum", "rsum")
RECALLS = [
    Column(f"{direction} R@{k}", f"{direction}_r{k}") for direction in ("i2t", "t2i") for k in (1, 5, 10)
]  # i2t, then t2i
MEDIANS = [Column(f"{direction} medR", f"{direction}_medr") for direction in ("i2t", "t2i")]
HEADLINE = [
    TRACK, Column("Rank", "rank", missing="unranked"), METHOD, Column("Group", "letters", left=True),
    Column("rsum (95 % interval)", "rsum"), RECALLS[0], RECALLS[3], SEED_COUNT, Column("d", "width"),
    Column("Train min", "training_minutes"),
]  # fmt: skip
ALL_RECALLS = [METHOD, *RECALLS[:3], MEDIANS[0], *RECALLS[3:], MEDIANS[1]]
HOST = [
    METHOD, Column("Host", "host", left=True), SEED_COUNT, Column("Host's", "host_seeds"), RSUM,
    Column("Host's rsum", "host_rsum"), Column("Difference", "difference", signed=True),
    Column("95 % interval", "difference", signed=True), Column("p", "p", 4, least=1e-4),
    Column("p (Holm)", "p_holm", 4, least=1e-4), Column("Differing settings", "differing", left=True, shown=False),
]  # fmt: skip
DIVERGED = [METHOD, Column("Overrides", "overrides", left=True), Column("Seed", "seed"), RSUM,
            Column("Why", "why", left=True)]  # fmt: skip
NO_ROW = "These runs measure nothing of their methods: they have no rank and no part in a mean over seeds."
PRINTED = [
    Column("Method", "method", left=True), Column("Setting", "setting", left=True),
    Column("Image inputs", "features", left=True), Column("Text", "text", left=True),
    Column("Ensemble", "ensemble", left=True), RECALLS[0], *(c.in_data() for c in RECALLS[1:3]), RECALLS[3],
    *(c.in_data() for c in RECALLS[4:]), RSUM, Column("Ours", "ours"),
    Column("Difference", "difference", signed=True), Column("Source", "source", left=True),
]  # fmt: skip
OTHERS_SHOWN = 5  # best published rows without a run that repeats them


def make_page(
    boards: Sequence[Board], published: Sequence[Published], judged: Sequence[PrintedECCV] = ()
) -> tuple[Page, list[str]]:
    """The page, and a sentence for each run that cannot stand beside the others.

    boards: in the order of `boards_of`. judged: what papers print of ECCV Caption.
    """
    without = sorted({p.benchmark for p in published} - {board.benchmark for board in boards})
    sections = [_section(board, published, judged) for board in boards]
    sections += [_without_runs(benchmark, published, judged) for benchmark in without]
    return Page(TITLE, SOURCE, _about(without, published), sections), [p for board in boards for p in board.problems]


def _about(without: Sequence[str], published: Sequence[Published]) -> list[tuple[str, str]]:
    if not without:
        return list(ABOUT)
    counts = Counter(p.benchmark for p in published)
    named = ", ".join(f"{benchmark} ({counts[benchmark]})" for benchmark in without)
    return [*ABOUT, ("Without a run", f"{named}: so many published rows stand in the formats csv and json.")]


def _section(board: Board, published: Sequence[Published], judged: Sequence[PrintedECCV]) -> Section:
    rows = [standing.row for standing in board.standings]
    metrics = (board.rows or board.diverged)[0].metrics[0]
    tables = [_headline(board), *_details(board, rows)] if rows else []
    tables += [_diverged_table(board.diverged)] if board.diverged else []
    tables += [table for table in (eccv_table(rows, _judged_on(board.benchmark, judged)),) if table]
    tables += _published_tables(board.benchmark, rows, published)
    return Section(
        title=board.benchmark,
        intro=_size(metrics) + ("" if rows else " No run of a shipped recipe is whole."),
        tables=tables,
        about={"images": metrics.n_images, "captions": metrics.n_texts, "folds": metrics.folds},
        part=SMOKE_TEST if board.is_smoke_test else REAL,
        shown=not board.is_smoke_test or metrics.folds == 1,
    )


def _without_runs(benchmark: str, published: Sequence[Published], judged: Sequence[PrintedECCV]) -> Section:
    """For other programs alone: nothing was measured here."""
    table = eccv_table([], _judged_on(benchmark, judged))
    tables = [*([table] if table else []), *_published_tables(benchmark, [], published)]
    return Section(benchmark, "No run of this benchmark has been recorded yet.", tables, part=REAL, shown=False)


def _judged_on(benchmark: str, judged: Sequence[PrintedECCV]) -> Sequence[PrintedECCV]:
    return judged if benchmark == JUDGED_BENCHMARK else ()


def _size(metrics: Metrics) -> str:
    folds = (
        f"; mean of {metrics.folds} folds of {metrics.n_images // metrics.folds:,} images" if metrics.folds > 1 else ""
    )
    return f"{metrics.n_images:,} images, {metrics.n_texts:,} captions{folds}."


def _headline(board: Board) -> Table:
    cells = [_headline_cells(standing) for standing in board.standings]
    used = {mark for standing in board.standings for mark in standing.row.marks}
    legend = [f"{words}: {meaning}." for mark, (words, meaning) in MARKS.items() if mark in used]
    notes = [" ".join(legend)] if legend else []
    if board.replaced:
        ids = ", ".join(record.id for row in board.replaced for record in row.records)
        notes.append(f"Left out, as there are newer records of the same method with another recipe or data: {ids}.")
    return Table("measured", "Measured", HEADLINE, cells, notes)


def _headline_cells(standing: Standing) -> list[Any]:
    row = standing.row
    recalls = _recalls(row)
    return [
        standing.track, standing.rank, row.marked, standing.letters, standing.rsum, recalls[0], recalls[4],
        len(row.records), width(row.first), row.spread(lambda r: r.train_seconds, 1 / 60),
    ]  # fmt: skip


def _recalls(row: Row) -> list[float]:
    """R@1, 5, 10 and medR of i2t, then of t2i, means over seeds."""

    def values(side: Direction) -> list[float]:
        return [side.r1, side.r5, side.r10, side.median]

    return np.mean([[*values(m.i2t), *values(m.t2i)] for m in row.metrics], axis=0).tolist()


def _details(board: Board, rows: Sequence[Row]) -> list[Table]:
    """The tables behind the headline."""
    notes = [*mixed_notes(rows), *encoder_notes(rows), *skipped_notes(rows)]
    return [
        _side_table("Recalls", ALL_RECALLS[1:], rows, _recalls),
        *_host_tables(board, rows),
        _side_table(
            "How the numbers came about, and their cost",
            [*ORIGIN, *COST],
            rows,
            lambda row: [*origin(row), *cost(row)],
            notes,
        ),
    ]


def _side_table(
    title: str, columns: Sequence[Column], rows: Sequence[Row], cells_of: Callable[[Row], list[Any]],
    notes: Sequence[str] = (),
) -> Table:  # fmt: skip
    """A table of the same rows as the headline: its method repeats."""
    cells = [[row.system, *cells_of(row)] for row in rows]
    return Table("measured", title, [METHOD, *columns], cells, notes, shares=True)


def _host_tables(board: Board, rows: Sequence[Row]) -> list[Table]:
    """Extensions against their hosts; nothing of those whose inputs are simulated, whatever they gain or lose."""
    simulated = [row for row in rows if "simulated_inputs" in row.first.flags and hosts_of(row.first)]
    against, notes = against_hosts([row for row in rows if row not in simulated], board.rows, board.seeds)
    if simulated:
        names = ", ".join(str(row.system) for row in simulated)
        notes = [*notes, f"Not set against their hosts, because their inputs are simulated: {names}."]
    notes = [*filter(None, map(_host_note, against)), *notes]
    if not against and not notes:
        return []
    return [Table("against_the_host", "Against the host", HOST, [_host_cells(a) for a in against], notes)]


def _host_cells(a: AgainstHost) -> list[Any]:
    c = a.comparison
    return [
        a.row.system, a.host.label, len(a.row.records), len(a.host.records), a.row.rsum, a.host.rsum, c.difference,
        Interval(c.low, c.high), c.p, a.adjusted, a.differing,
    ]  # fmt: skip


def _host_note(a: AgainstHost) -> str:
    told = [f"differs from its host in {a.differing}"] if a.differing else []
    told += [] if a.comparison.seeds_counted else ["no row has a second seed: only the choice of images is counted"]
    return f"{a.row.system}: {'; '.join(told)}." if told else ""


def _diverged_table(diverged: Sequence[Row]) -> Table:
    """A line per run: seeds diverge for reasons of their own."""
    cells = [
        [row.system, overrides_text(row.overrides), record.seed, metrics.rsum, record.diverged]
        for row in diverged
        for record, metrics in zip(row.records, row.metrics, strict=True)
    ]
    return Table("diverged", "Diverged", DIVERGED, cells, [NO_ROW])


def _published_tables(benchmark: str, rows: Sequence[Row], published: Sequence[Published]) -> list[Table]:
    """One table, best first: what a row repeats, then the rest; none where nothing is printed."""
    ordered = sorted(
        (p for p in published if p.benchmark == benchmark),
        key=lambda p: (-p.rsum, p.method, p.setting, p.features, p.text, p.source),
    )
    repeated = [(p, row) for p in ordered for row in [_repeating(p, rows)] if row is not None]
    others = [(p, None) for p in ordered if _repeating(p, rows) is None]
    if not ordered:
        return []
    first = len(repeated) + OTHERS_SHOWN
    shown = [*repeated, *others]
    notes = [f"{p.name}: {p.note}." for p, _ in shown[:first] if p.note]
    if rows and not repeated:
        notes.append("None was measured with the inputs of a row above: for scale only.")
    return [Table("published", "Published", PRINTED, [_printed_cells(p, row) for p, row in shown], notes, first)]


def _repeating(published: Published, rows: Sequence[Row]) -> Row | None:
    """The row that repeats a printed one; of several the one with most seeds, then the best."""
    fitting = [row for row in rows if is_repeated_by(published, row)]
    return max(fitting, key=lambda row: (len(row.records), row.rsum.mean), default=None)


def _printed_cells(p: Published, row: Row | None) -> list[Any]:
    ours = None if row is None else row.rsum.mean
    difference = None if ours is None else ours - p.rsum
    return [
        p.method, p.setting, p.features, p.text, p.ensemble, *p.recalls, p.rsum, ours, difference, p.source,
    ]  # fmt: skip
