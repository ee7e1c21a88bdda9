"""What the page holds: a pure function of runs, published numbers and the data sets whose queries it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itm_harness.benchmarks.ablations.report import make_page as make_ablations
from itm_harness.benchmarks.analysis.retrieval import Gallery, require_same_data
from itm_harness.benchmarks.leaderboard.board import Standing, boards_of
from itm_harness.benchmarks.leaderboard.eccv_table import PrintedECCV
from itm_harness.benchmarks.leaderboard.page import make_page as make_leaderboard
from itm_harness.benchmarks.leaderboard.published import Published
from itm_harness.benchmarks.leaderboard.rows import Row, Run
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
    boards = boards_of(runs)
    page, problems = make_leaderboard(boards, published, judged)
    measured = {board.benchmark: board.standings for board in boards if board.standings}
    rows = {name: [standing.row for standing in standings] for name, standings in measured.items()}
    styles = styles_of(row for some in rows.values() for row in some)
    shown = [make_board(section, measured.get(section.title, []), styles) for section in page.sections]
    charts = [_charts(name, standings, details, styles) for name, standings in measured.items()]
    ablations, conflicts = make_ablations(runs)
    views, unfit = _views(galleries, rows, details)
    data = {"ks": KS, "benchmarks": charts, "ablations": ablation_series(ablations), "views": views}
    contents = Contents(shown, data, page.about, len(runs), sorted({run.record.method for run in runs}), list(measured))
    return contents, [*dict.fromkeys([*problems, *conflicts]), *unfit]


def _charts(
    benchmark: str, standings: Sequence[Standing], details: Store, styles: Mapping[str, Style]
) -> dict[str, Any]:
    series = [
        row_series(benchmark, s.row, s.row.label, s.rsum.interval, details, styles[key_of(s.row)]) for s in standings
    ]
    return {"name": benchmark, "rows": series}


def _views(
    galleries: Sequence[Gallery],
    measured: Mapping[str, Sequence[Row]],
    details: Store,
) -> tuple[list[dict[str, Any]], list[str]]:
    """What the viewer shows of each data set, and a sentence for each that the records were not measured on."""
    views, problems = [], []
    for gallery in galleries:
        benchmark = _widest(gallery.dataset, measured)
        if benchmark is None:
            continue
        rows = measured[benchmark]
        kept = rows[:VIEWED]
        try:
            for row in kept:
                require_same_data(gallery, row.first, details[row.first.id][benchmark])
        except DataError as error:
            problems.append(str(error))
            continue
        runs = [_viewed(row, benchmark, details) for row in kept]
        view = {"dataset": gallery.dataset, "benchmark": benchmark, "rows": len(rows), "runs": runs}
        views.append({**view, **packed_gallery(gallery)})
    return views, problems


def _widest(dataset: str, measured: Mapping[str, Sequence[Row]]) -> str | None:
    """The benchmark of a data set that ranks its whole gallery, or the most of it; None where nothing was measured."""
    folds = {name: rows[0].metrics[0].folds for name, rows in measured.items() if rows[0].first.dataset == dataset}
    return min(folds, key=lambda name: (folds[name], name), default=None)


def _viewed(row: Row, benchmark: str, details: Store) -> dict[str, Any]:
    """A row's first seed."""
    record = row.first
    return {
        "id": record.id,
        "key": key_of(row),
        "label": row.label,
        "seed": record.seed,
        **packed_run(details[record.id][benchmark]),
    }
