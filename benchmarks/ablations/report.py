"""ABLATIONS.md: measured and published changes side by side, a pure function of records, sets and published numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itm_harness.benchmarks.ablations.runs import may_stand_in_tables
from itm_harness.benchmarks.ablations.sets import (
    RECALLS,
    AblationRow,
    AblationSet,
    AblationTable,
    has_recipe,
    read_set,
    set_names,
)
from itm_harness.benchmarks.analysis.statistics import Comparison, compare
from itm_harness.benchmarks.common.atomic import write_whole
from itm_harness.benchmarks.leaderboard.build import read_runs
from itm_harness.benchmarks.leaderboard.formats import markdown
from itm_harness.benchmarks.leaderboard.rows import MARKS, Row, Run, make_rows, on_one_test_set, short
from itm_harness.benchmarks.leaderboard.tables import Column, Interval, Page, Section, Table
from itm_harness.benchmarks.records.schema import Metrics, Record
from itm_harness.methods.errors import MethodError

TITLE = "Ablations"
SOURCE = "Made from the records by `itm ablate`; do not edit."
ABOUT = (
    ("Rows", "A change of the method's recipe, everything else as in the full row. n seeds; recalls in percent and "
     "rsum are means over them, ± the sample standard deviation. Protocol and marks are the leaderboard's."),
    ("Change", "rsum of the row minus rsum of the table's full row, on the same test images. 95 % interval: paired "
     "bootstrap over images, each with its captions, hits averaged over seeds. It tells of the choice of test images; "
     "the choice of seed is not in it, and with one seed each adds to it."),
    ("Published", "As printed, on the paper's data set: what a part is worth there stands beside what it is worth "
     "here. Published change: of the sum of the recalls that the paper prints; our change: of the same recalls of "
     "ours, where they are not all six."),
)  # fmt: skip
NOTHING = (("Records", "No ablation has been recorded yet."),)

HEADINGS = {name: f"{name[:3]} R@{name[5:]}" for name in RECALLS}
MEASURED = [
    Column("Row", "row", left=True), Column("Variant and overrides", "overrides", left=True),
    Column("Marks", "marks", left=True), Column("n", "seeds"),
    *(Column(HEADINGS[name], name) for name in RECALLS), Column("rsum", "rsum"),
    Column("Change", "change", signed=True), Column("95 % interval", "change", signed=True),
]  # fmt: skip
CHANGES = [
    Column("Published change", "published_change", signed=True), Column("Our change", "our_change", signed=True),
]  # fmt: skip
NOT_RUN = "not run"


@dataclass(frozen=True)
class Setting:
    """What the rows of a section share. common: overrides beside those of the rows. recipes: label -> its recipe."""

    ablation: AblationSet
    dataset: str
    precision: str
    common: dict[str, Any]
    recipes: dict[str, dict[str, Any]]

    @property
    def title(self) -> str:
        """Method, data set, and what is unusual."""
        unusual = [f"{key}={short(value)}" for key, value in sorted(self.common.items())]
        unusual += [self.precision] if self.precision != "fp32" else []
        return f"{self.ablation.method} on {self.dataset}" + (f" ({', '.join(unusual)})" if unusual else "")


def write_ablations(results_dir: Path, also: Sequence[Path] = ()) -> tuple[Path, list[str]]:
    """Write `<results>/ABLATIONS.md` from the folder's records, and those of other results folders.

    Returns its path, and a sentence for each record that is damaged or cannot stand beside the others: it is left out.
    Raises RunError where the folder is missing.
    """
    runs, _, damaged = read_runs(results_dir, *also)
    page, conflicts = make_page(runs_of_sets(runs))
    path = results_dir / "ABLATIONS.md"
    write_whole(path, lambda file: file.write(markdown(page).encode()))
    return path, damaged + conflicts


def runs_of_sets(runs: Iterable[Run]) -> list[Run]:
    """Those of methods that have an ablation set, trained here, in the same order."""
    return [run for run in runs if run.record.method in set_names() and may_stand_in_tables(run.record)]


def make_page(runs: Sequence[Run]) -> tuple[Page, list[str]]:
    """The page, and a sentence for each run that cannot stand beside the others. runs: in the order of `make_runs`."""
    sections, problems = [], []
    for method in sorted({run.record.method for run in runs}):
        own = [run for run in runs if run.record.method == method]
        for setting in settings(read_set(method), [run.record for run in own]):
            section, sentences = _section(setting, own)
            sections += [section] if section else []
            problems += sentences if section else []
    return Page(TITLE, SOURCE, ABOUT if sections else NOTHING, sections), problems


def settings(ablation: AblationSet, records: Iterable[Record]) -> list[Setting]:
    """Every data set, precision and set of common overrides that a record has, each once.

    Overrides that today's recipe refuses, or that change nothing, make no setting of their own.
    """
    keys = ablation.keys()
    asked = {
        (r.dataset, r.precision != "fp32", r.precision, len(c), json.dumps(c, sort_keys=True))
        for r in records
        for c in [{key: value for key, value in r.overrides.items() if key not in keys}]
    }
    found: dict[str, Setting] = {}
    for dataset, _, precision, _, common in sorted(asked):
        setting = _setting(ablation, dataset, precision, json.loads(common))
        if setting:
            found.setdefault(json.dumps([dataset, precision, setting.recipes], sort_keys=True), setting)
    return list(found.values())


def _setting(ablation: AblationSet, dataset: str, precision: str, common: dict[str, Any]) -> Setting | None:
    try:
        recipes = {row.label: ablation.expected(row, dataset, common) for row in ablation.rows()}
    except MethodError:
        return None
    return Setting(ablation, dataset, precision, common, recipes)


def _section(setting: Setting, runs: list[Run]) -> tuple[Section | None, list[str]]:
    """A section, unless nothing but full rows was measured."""
    runs = [r for r in runs if (r.record.dataset, r.record.precision) == (setting.dataset, setting.precision)]
    matched = {label: [r for r in runs if has_recipe(r.record, recipe)] for label, recipe in setting.recipes.items()}
    full = [setting.recipes[table.full] for table in setting.ablation.tables]
    if not any(found for label, found in matched.items() if setting.recipes[label] not in full):
        return None, []
    shown = {run.record.id: run for found in matched.values() for run in found}
    benchmark = next(iter(min(shown.values(), key=lambda run: run.record.id).record.metrics))
    fitting, problems = on_one_test_set(benchmark, [shown[name] for name in sorted(shown)])
    names = {run.record.id for run in fitting}
    rows = {label: _row(benchmark, [r for r in found if r.record.id in names]) for label, found in matched.items()}
    tables = [_table(setting, table, rows) for table in setting.ablation.tables]
    return Section(setting.title, _size(benchmark, fitting[0].record.metrics[benchmark]), tables), problems


def _row(benchmark: str, runs: list[Run]) -> Row | None:
    """One row of all seeds; of runs on other versions of the data the group with most seeds, then the newest."""
    rows = make_rows(benchmark, runs)
    return max(rows, key=lambda row: (len(row.records), max(r.created for r in row.records)), default=None)


def _size(benchmark: str, metrics: Metrics) -> str:
    folds = f", mean of {metrics.folds} folds" if metrics.folds > 1 else ""
    return f"{benchmark}: {metrics.n_images:,} images, {metrics.n_texts:,} captions{folds}."


def _table(setting: Setting, table: AblationTable, rows: Mapping[str, Row | None]) -> Table:
    full = rows[table.full]
    sums = _printed_recalls(table)
    comparisons = _against_full(table, rows)
    cells = []
    for row in table.rows:
        found = rows.get(row.label)
        beside = _published_cells(table, row, found, full, sums)
        cells.append([*_measured_cells(setting, row, found, comparisons.get(row.label)), *beside])
    return Table(table.title, table.title, [*MEASURED, *_published_columns(table, sums)], cells, _notes(table, rows))


def _against_full(table: AblationTable, rows: Mapping[str, Row | None]) -> dict[str, Comparison]:
    """Label -> the row against the full one, for rows that were run and are other runs; all from the same resamples."""
    full = rows[table.full]
    if full is None:
        return {}
    found = {row.label: rows.get(row.label) for row in table.rows}
    others = {label: r.scores for label, r in found.items() if r and not _one_run(r, full)}
    if not others:
        return {}
    scores = np.stack(list(others.values()), axis=1)  # (n_images, rows)
    return dict(zip(others, compare(scores, np.broadcast_to(full.scores[:, None], scores.shape)), strict=True))


def _one_run(row: Row | None, full: Row | None) -> bool:
    """Is a row the full one under another name?"""
    return row is not None and full is not None and row.first.group_key == full.first.group_key


def _measured_cells(setting: Setting, row: AblationRow, found: Row | None, comparison: Comparison | None) -> list[Any]:
    changes = [f"{key}={short(value)}" for key, value in row.changes(setting.dataset).items()]
    shown = ", ".join([*([row.variant] if row.variant else []), *changes])
    if found is None:
        return [row.label, shown, None, None if row.absent else NOT_RUN, *[None] * (len(RECALLS) + 3)]
    head = [row.label, shown, found.marked(), len(found.records), *_mean_recalls(found).values(), found.rsum]
    if comparison is None:
        return [*head, None, None]
    return [*head, comparison.difference, Interval(comparison.low, comparison.high)]


def _mean_recalls(row: Row) -> dict[str, float]:
    """Means over seeds, by the names of RECALLS."""
    return {name: float(np.mean([getattr(getattr(m, name[:3]), name[4:]) for m in row.metrics])) for name in RECALLS}


def _printed_recalls(table: AblationTable) -> list[str]:
    """The recalls that the paper prints for this table."""
    return [name for name in RECALLS if any(name in numbers for numbers in table.printed.values())]


def _published_columns(table: AblationTable, sums: list[str]) -> list[Column]:
    columns = [Column(f"Published {HEADINGS[name]}", f"published_{name}") for name in sums]
    return columns + CHANGES[: _changes_shown(table, sums)]


def _changes_shown(table: AblationTable, sums: list[str]) -> int:
    """How many of CHANGES: none where a single row is printed; ours is that of the rsum where all recalls are."""
    if len(table.printed) < 2:
        return 0
    return 1 if len(sums) == len(RECALLS) else 2


def _published_cells(
    table: AblationTable, row: AblationRow, found: Row | None, full: Row | None, sums: list[str]
) -> list[Any]:
    """Printed recalls, and if several rows are printed the change of their sum, published and ours."""
    numbers, whole = table.printed.get(row.label), table.printed.get(table.full)
    changes = [None, None]
    if row.label != table.full:
        measured = [_mean_recalls(one) if one else None for one in (found, full)]
        changes = [_change(numbers, whole, sums), None if _one_run(found, full) else _change(*measured, sums)]
    printed = [None if numbers is None else numbers[name] for name in sums]
    return printed + changes[: _changes_shown(table, sums)]


def _change(changed: Mapping[str, float] | None, full: Mapping[str, float] | None, names: list[str]) -> float | None:
    """Of the sum of these recalls."""
    if changed is None or full is None:
        return None
    return sum(changed[name] - full[name] for name in names)


def _notes(table: AblationTable, rows: Mapping[str, Row | None]) -> list[str]:
    shown = [rows[row.label] for row in table.rows if rows.get(row.label)]
    used = {mark for row in shown for mark in row.marks}
    notes = [f"Full row: {table.full}."]
    notes += [f"Published: {table.published.about}."] if table.published else []
    notes += [f"{row.label}: {row.note or row.absent}." for row in table.rows if row.note or row.absent]
    return [*notes, *(f"{symbol} {meaning}." for mark, (symbol, meaning) in MARKS.items() if mark in used)]
