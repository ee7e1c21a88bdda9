"""ABLATIONS.md: changes of recipes against the recipe as it is, from records, sets and printed numbers alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from itm_harness.benchmarks.ablations.runs import may_stand_in_tables
from itm_harness.benchmarks.ablations.sets import (
    AblationRow,
    AblationSet,
    AblationTable,
    has_recipe,
    read_set,
    set_names,
)
from itm_harness.benchmarks.ablations.tested import Change, tested_table
from itm_harness.benchmarks.analysis.evidence import SeedVariance
from itm_harness.benchmarks.common.atomic import write_whole
from itm_harness.benchmarks.leaderboard.board import seed_variance
from itm_harness.benchmarks.leaderboard.build import read_runs
from itm_harness.benchmarks.leaderboard.formats import markdown
from itm_harness.benchmarks.leaderboard.rows import Row, Run, make_rows, on_one_test_set, overrides_text, short
from itm_harness.benchmarks.leaderboard.tables import Page, Section, Table
from itm_harness.benchmarks.records.schema import Record
from itm_harness.methods.errors import MethodError

TITLE = "Ablations"
SOURCE = "Made from the records by `itm ablate`; do not edit."
ABOUT = (
    ("Rows", "A change of the method's recipe, everything else as in the full row, which stands first. R@1 in percent "
     "and rsum are means over seeds, ± their sample standard deviation. The protocol is the leaderboard's."),
    ("Change", "rsum of the row minus that of the full row, on the same test images, with its 95 % interval and p by "
     "the leaderboard's evidence: images and seeds count as chance, Holm's correction runs over the table."),
    ("Published", "A printed change stands beside ours only where it is of the same benchmark and text encoder."),
)  # fmt: skip
NOTHING = (("Records", "No ablation has been recorded yet."),)
NOT_RUN = "Not run: "
OTHERS = "Other overrides"
SIMULATED = "Some inputs are simulated: what is learnt holds for the simulation only."


Seeds = Mapping[str, SeedVariance]  # benchmark -> how much seeds differ on its board


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
    Raises RunError where all folders are missing.
    """
    runs, damaged = read_runs(results_dir, *also)
    page, conflicts = make_page(runs)
    path = results_dir / "ABLATIONS.md"
    write_whole(path, lambda file: file.write(markdown(page).encode()))
    return path, damaged + conflicts


def make_page(runs: Sequence[Run]) -> tuple[Page, list[str]]:
    """The page, and a sentence for each run that cannot stand beside the others. runs: in the order of `make_runs`.

    What no ablation set names comes last.
    """
    seeds = {benchmark: seed_variance(benchmark, runs) for benchmark in {b for run in runs for b in run.scores}}
    runs = [run for run in runs if may_stand_in_tables(run.record)]
    sections, problems, named = [], [], set()
    for method in sorted({run.record.method for run in runs} & set(set_names())):
        own = [run for run in runs if run.record.method == method]
        for setting in settings(read_set(method), [run.record for run in own]):
            section, shown, sentences = _section(setting, own, seeds)
            sections += [section] if section else []
            named |= shown
            problems += sentences
    others, sentences = _other_sections(runs, named, seeds)
    sections += others
    return Page(TITLE, SOURCE, ABOUT if sections else NOTHING, sections), [*problems, *sentences]


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


def _section(setting: Setting, runs: Sequence[Run], seeds: Seeds) -> tuple[Section | None, set[str], list[str]]:
    """A section with the ids of its records, unless nothing but full rows was measured."""
    runs = [r for r in runs if (r.record.dataset, r.record.precision) == (setting.dataset, setting.precision)]
    matched = {label: [r for r in runs if has_recipe(r.record, recipe)] for label, recipe in setting.recipes.items()}
    full = [setting.recipes[table.full] for table in setting.ablation.tables]
    if not any(found for label, found in matched.items() if setting.recipes[label] not in full):
        return None, set(), []
    shown = {run.record.id: run for found in matched.values() for run in found}
    benchmark = _benchmark(shown.values())
    fitting, problems = on_one_test_set(benchmark, [shown[name] for name in sorted(shown)])
    rows = {label: _row(benchmark, [r for r in found if r in fitting]) for label, found in matched.items()}
    tables = {table.title: _table(setting, table, rows, seeds, benchmark) for table in setting.ablation.tables}
    idle = [title for title, table in tables.items() if table is None]
    intro = [_about(benchmark, fitting), *([f"{NOT_RUN}{'; '.join(idle)}."] if idle else [])]
    found = [table for table in tables.values() if table]
    return Section(setting.title, " ".join(intro), found), set(shown), problems


def _benchmark(runs: Iterable[Run]) -> str:
    """The first one of a record: of its whole gallery."""
    return next(iter(min(runs, key=lambda run: run.record.id).record.metrics))


def _row(benchmark: str, runs: list[Run]) -> Row | None:
    """One row of all seeds; of runs on other versions of the data the group with most seeds, then the newest."""
    rows = make_rows(benchmark, runs)
    return max(rows, key=lambda row: (len(row.records), max(r.created for r in row.records)), default=None)


def _about(benchmark: str, runs: Sequence[Run]) -> str:
    """The test set, and whether inputs are simulated."""
    metrics = runs[0].record.metrics[benchmark]
    folds = f", mean of {metrics.folds} folds" if metrics.folds > 1 else ""
    size = f"{benchmark}: {metrics.n_images:,} images, {metrics.n_texts:,} captions{folds}."
    simulated = any("simulated_inputs" in run.record.flags for run in runs)
    return f"{size} {SIMULATED}" if simulated else size


def _table(
    setting: Setting, table: AblationTable, rows: Mapping[str, Row | None], seeds: Seeds, benchmark: str
) -> Table | None:
    """None where none of its changes was run. A row that is the full one under another name is no change."""
    full = rows[table.full]
    others = [row for row in table.rows if not row.absent and setting.recipes[row.label] != setting.recipes[table.full]]
    run = {row.label: made for row in others if (made := rows[row.label])}
    if not run:
        return None
    comparable = bool(table.published and full and table.published.is_comparable(benchmark, full.first.text))
    printed = table.printed_changes if comparable else {}
    shown = {row.label: _shown(row, setting.dataset) for row in table.rows}
    changes = [Change(label, shown[label], made, printed.get(label)) for label, made in run.items()]
    reference = Change(table.full, shown[table.full], full) if full else None
    missing = [row.label for row in others if row.label not in run]
    notes = _notes(table, missing, comparable)
    return tested_table(table.title, reference, changes, seeds[benchmark], notes, table.printed_recalls)


def _shown(row: AblationRow, dataset: str) -> str:
    changes = [f"{key}={short(value)}" for key, value in row.changes(dataset).items()]
    return ", ".join([*([row.variant] if row.variant else []), *changes])


def _notes(table: AblationTable, missing: Sequence[str], comparable: bool) -> list[str]:
    """What was not run, where printed numbers are from, and what must be known of the other rows."""
    notes = [f"{NOT_RUN}{'; '.join(missing)}."] if missing else []
    if table.published:
        beside = "" if comparable else f"; not comparable, the numbers are in published/{table.published.file}"
        notes.append(f"Published: {table.published.about}{beside}.")
    told = {row.label: row.absent or row.note for row in table.rows if row.label not in missing}
    return [*notes, *(f"{label}: {note}." for label, note in told.items() if note)]


def _other_sections(runs: Sequence[Run], named: set[str], seeds: Seeds) -> tuple[list[Section], list[str]]:
    """Runs with overrides that no set names, by method, variant and data set, against the recipe as it comes."""
    sections, problems = [], []
    for _, group in groupby(sorted(runs, key=_place), key=_place):
        own = list(group)
        if any(run.record.overrides and run.record.id not in named for run in own):
            section, sentences = _other_section(own, named, seeds)
            sections += [section] if section else []
            problems += sentences
    return sections, problems


def _other_section(runs: Sequence[Run], named: set[str], seeds: Seeds) -> tuple[Section | None, list[str]]:
    """runs: of one system on one data set."""
    benchmark = _benchmark(runs)
    fitting, problems = on_one_test_set(benchmark, list(runs))
    rows = make_rows(benchmark, fitting)
    others = [row for row in rows if not row.as_it_comes and row.first.id not in named]
    if not others:
        return None, problems
    as_they_come = [row for row in rows if row.as_it_comes]
    full = max(as_they_come, key=lambda row: (len(row.records), row.first.group_key), default=None)
    first = others[0].first
    changes = [Change(overrides_text(row.overrides), first.variant, row) for row in others]
    reference = Change("the recipe as it is", first.variant, full) if full else None
    unusual = f" ({first.precision})" if first.precision != "fp32" else ""
    title = f"{others[0].system} on {first.dataset}{unusual}"
    table = tested_table(OTHERS, reference, changes, seeds[benchmark], [], [])
    return Section(title, _about(benchmark, fitting), [table]), problems


def _place(run: Run) -> tuple[str, ...]:
    """What runs of one section share."""
    return run.record.method, run.record.variant, run.record.dataset, run.record.precision
