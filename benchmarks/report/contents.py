"""What the page holds: a pure function of runs, published numbers and the data sets whose queries it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itm_harness.benchmarks.ablations.report import make_page as make_ablations
from itm_harness.benchmarks.ablations.report import runs_of_sets
from itm_harness.benchmarks.analysis.retrieval import Gallery, require_same_data
from itm_harness.benchmarks.leaderboard.eccv_table import PrintedECCV
from itm_harness.benchmarks.leaderboard.page import ABOUT
from itm_harness.benchmarks.leaderboard.page import make_page as make_leaderboard
from itm_harness.benchmarks.leaderboard.published import Published
from itm_harness.benchmarks.leaderboard.rows import Row, Run, make_rows, on_one_test_set, overrides_shown
from itm_harness.benchmarks.leaderboard.tables import Interval, Section
from itm_harness.benchmarks.report.boards import Board, make_board
from itm_harness.benchmarks.report.series import KS, Store, ablation_series, row_series
from itm_harness.benchmarks.report.styles import Style, key_of, styles_of
from itm_harness.benchmarks.report.viewer import packed_gallery, packed_run
from itm_harness.datasets.errors import DataError

VIEWED = 20  # rows of a data set whose ranked lists the page holds: about 90 kB each on 500 images


@dataclass(frozen=True)
class Contents:
    """boards: by benchmark, measured ones first. data: what the page's script reads. about: term and explanation.

    records: how many stand in the tables. methods, measured: their names, and the names of the benchmarks of records.
    """

    boards: list[Board]
    data: dict[str, Any]
    about: Sequence[tuple[str, str]]
    records: int
    methods: list[str]
    measured: list[str]


def make_contents(
    runs: Sequence[Run],
    details: Store,
    published: Sequence[Published],
    judged: Sequence[PrintedECCV],
    galleries: Sequence[Gallery],
) -> tuple[Contents, list[str]]:
    """The page's contents, and a sentence for each run that cannot stand beside the others.

    runs: in the order of `make_runs`. details: of their records. judged: what papers print of ECCV Caption. galleries:
    the data sets to show queries of.
    """
    page, problems = make_leaderboard(runs, published, judged)
    rows_of = {s.title: _rows_of(s.title, runs) for s in page.sections}
    sections = sorted(page.sections, key=lambda s: _place(rows_of[s.title]))
    measured = {s.title: rows_of[s.title] for s in sections if rows_of[s.title]}
    styles = styles_of(row for rows in measured.values() for row in rows)
    shown = {name: overrides_shown(rows) for name, rows in measured.items()}
    boards = [make_board(s, measured.get(s.title, []), shown.get(s.title, []), styles) for s in sections]
    charts = [
        _charts(section, measured[section.title], shown[section.title], details, styles)
        for section in sections
        if section.title in measured
    ]
    ablations, conflicts = make_ablations(runs_of_sets(runs))
    views, unfit = _views(galleries, measured, shown, details)
    data = {"ks": KS, "benchmarks": charts, "ablations": ablation_series(ablations), "views": views}
    contents = Contents(boards, data, ABOUT, len(runs), sorted({run.record.method for run in runs}), list(measured))
    return contents, [*dict.fromkeys([*problems, *conflicts]), *unfit]


def _rows_of(benchmark: str, runs: Sequence[Run]) -> list[Row]:
    """The rows of the leaderboard's tables, in their order."""
    fitting, _ = on_one_test_set(benchmark, [run for run in runs if benchmark in run.scores])
    return make_rows(benchmark, [run for run in fitting if not run.record.diverged])


def _place(rows: Sequence[Row]) -> tuple[bool, str, int]:
    """Measured benchmarks first, by data set, the one with the largest galleries before its folds."""
    return (True, "", 0) if not rows else (False, rows[0].first.dataset, rows[0].metrics[0].folds)


def _charts(
    section: Section, rows: Sequence[Row], shown: Sequence[str], details: Store, styles: Mapping[str, Style]
) -> dict[str, Any]:
    table = next(table for table in section.tables if table.kind == "measured")
    bounds = [next(cell for cell in cells if isinstance(cell, Interval)) for cells in table.rows]
    return {
        "name": section.title,
        "rows": [
            row_series(section.title, row, _label(row, text), (b.low, b.high), details, styles[key_of(row)])
            for row, text, b in zip(rows, shown, bounds, strict=True)
        ],
    }


def _label(row: Row, overrides: str) -> str:
    return f"{row.system} {overrides}".strip()


def _views(
    galleries: Sequence[Gallery],
    measured: Mapping[str, Sequence[Row]],
    shown: Mapping[str, Sequence[str]],
    details: Store,
) -> tuple[list[dict[str, Any]], list[str]]:
    """What the viewer shows of each data set, and a sentence for each that the records were not measured on."""
    views, problems = [], []
    for gallery in galleries:
        benchmark = _widest(gallery.dataset, measured)
        if benchmark is None:
            continue
        named = zip(measured[benchmark], shown[benchmark], strict=True)
        rows = [(row, _label(row, text)) for row, text in named]
        kept = sorted(rows, key=lambda pair: not pair[0].as_it_comes)[:VIEWED]  # the methods' own recipes first
        try:
            for row, _ in kept:
                require_same_data(gallery, row.first, details[row.first.id][benchmark])
        except DataError as error:
            problems.append(str(error))
            continue
        runs = [_viewed(row, label, benchmark, details) for row, label in kept]
        view = {"dataset": gallery.dataset, "benchmark": benchmark, "rows": len(rows), "runs": runs}
        views.append({**view, **packed_gallery(gallery)})
    return views, problems


def _widest(dataset: str, measured: Mapping[str, Sequence[Row]]) -> str | None:
    """The benchmark of a data set that ranks its whole gallery, or the most of it; None where nothing was measured."""
    folds = {name: rows[0].metrics[0].folds for name, rows in measured.items() if rows[0].first.dataset == dataset}
    return min(folds, key=lambda name: (folds[name], name), default=None)


def _viewed(row: Row, label: str, benchmark: str, details: Store) -> dict[str, Any]:
    """A row's first seed."""
    record = row.first
    return {
        "id": record.id,
        "key": key_of(row),
        "label": label,
        "seed": record.seed,
        **packed_run(details[record.id][benchmark]),
    }
