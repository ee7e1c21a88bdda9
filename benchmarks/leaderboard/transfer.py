"""TRANSFER.md: systems measured on a data set that they were not trained on, ours and published, from records alone."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from itm_harness.benchmarks.common.atomic import write_whole
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.formats import markdown
from itm_harness.benchmarks.leaderboard.published import Printed
from itm_harness.benchmarks.leaderboard.rows import MARKS
from itm_harness.benchmarks.leaderboard.tables import Column, Marked, Page, Section, System, Table
from itm_harness.benchmarks.records.schema import TRAINED_ON, TRANSFER, Metrics, Record
from itm_harness.benchmarks.records.store import scan_records

CROSS_DOMAIN = Path(__file__).parent / "published" / "cross_domain.csv"
TITLE = "Transfer"
SOURCE = "Made from the records by `itm transfer`; do not edit."
ABOUT = (
    ("Rows", "A checkpoint that was trained on one data set and tested on another, without any training there "
     "(zero-shot). One row per checkpoint. Protocol and marks are the leaderboard's, where none of these rows stands."),
    ("Published", "As printed; neither the training data nor the size of the test set is part of the printed table. "
     "Ours of N24News and RSITMD are therefore all images of the test split at hand."),
)  # fmt: skip
NOT_SHOWN = {"limited", "nonstandard_size"}

RECALLS = [Column(f"{side} R@{k}", f"{side}_r{k}") for side in ("i2t", "t2i") for k in (1, 5, 10)]
MEASURED = [
    Column("Method", "method", left=True),
    Column("Trained on", "trained_on", left=True), Column("Seed", "seed"),
    Column("Image inputs", "features", left=True), Column("Text", "text", left=True), *RECALLS,
    Column("rsum", "rsum"), Column("Checkpoint", "checkpoint", left=True),
]  # fmt: skip
PRINTED = [
    Column("Method", "method", left=True),
    *RECALLS,
    Column("rsum", "rsum"),
    Column("Source", "source", left=True),
]


class CrossDomain(Printed):
    """One line of cross_domain.csv, as printed."""

    dataset: str
    method: str


def read_cross_domain(file: Path = CROSS_DOMAIN) -> list[CrossDomain]:
    """All rows, in file order. Raises RunError where the file cannot be read or a row is not valid."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            return [CrossDomain.model_validate({str(k): v for k, v in row.items()}) for row in csv.DictReader(lines)]
    except (OSError, UnicodeDecodeError, csv.Error, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{file} cannot be read: {reason}; restore it from version control.") from error


def write_transfer(results_dir: Path, also: Sequence[Path] = ()) -> tuple[Path, list[str]]:
    """Write `<results>/TRANSFER.md` from the folder's records, and those of other results folders.

    Returns its path, and a sentence for each damaged record, which is left out. Raises RunError where the folder is
    missing.
    """
    found, problems = scan_records(results_dir, *also)
    page = make_page([record for record, _ in found], read_cross_domain())
    path = results_dir / "TRANSFER.md"
    write_whole(path, lambda file: file.write(markdown(page).encode()))
    return path, problems


def make_page(records: Iterable[Record], published: list[CrossDomain]) -> Page:
    """Benchmarks that were measured, then data sets that others published. The same records give the same page."""
    shown = [r for r in records if TRANSFER in r.flags and not NOT_SHOWN & set(r.flags)]
    benchmarks = sorted({name for record in shown for name in record.metrics})
    sections = [_measured(name, [r for r in shown if name in r.metrics], published) for name in benchmarks]
    measured = {record.dataset.lower() for record in shown}
    for name in dict.fromkeys(p.dataset for p in published):
        if name.lower() not in measured:
            sections.append(Section(name, "No run has been recorded.", _printed_tables(name, published)))
    return Page(TITLE, SOURCE, ABOUT, sections)


def _measured(benchmark: str, records: list[Record], published: list[CrossDomain]) -> Section:
    """What was measured, with what others printed of the same data set below it."""
    ordered = sorted(records, key=lambda r: (-r.metrics[benchmark].rsum, r.id))
    rows = [[_marked(r), *_cells(r, r.metrics[benchmark])] for r in ordered]
    tables = [Table("transfer", "Measured", MEASURED, rows), *_printed_tables(ordered[0].dataset, published)]
    return Section(benchmark, _sizes([r.metrics[benchmark] for r in ordered]), tables)


def _marked(record: Record) -> Marked:
    marks = tuple(mark for mark in MARKS if mark in {*record.flags, record.selection})
    return Marked(System(record.method, record.variant), marks, tuple(MARKS[mark][0] for mark in marks))


def _cells(record: Record, m: Metrics) -> list[Any]:
    recalls = [value for side in (m.i2t, m.t2i) for value in (side.r1, side.r5, side.r10)]
    told = [record.recipe[TRAINED_ON], record.seed, record.features, record.text]
    return [*told, *recalls, m.rsum, record.weights[:8]]


def _sizes(metrics: list[Metrics]) -> str:
    """That of the test set; of several, where a benchmark's size is not fixed, all of them."""
    return " / ".join(dict.fromkeys(map(_size, metrics)))


def _size(metrics: Metrics) -> str:
    folds = f"; mean of {metrics.folds} folds" if metrics.folds > 1 else ""
    return f"{metrics.n_images:,} images, {metrics.n_texts:,} captions{folds}."


def _printed_tables(dataset: str, published: list[CrossDomain]) -> list[Table]:
    """One table of what is printed of a data set, best first; none where nothing is."""
    printed = [p for p in published if p.dataset.lower() == dataset.lower()]
    rows = [[p.method, *p.recalls, p.rsum, p.source] for p in sorted(printed, key=lambda p: (-p.rsum, p.method))]
    return [Table("published", "Published", PRINTED, rows)] if rows else []
