"""Run the rows of an ablation set that no record shows yet."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from accelerate import Accelerator
from rich.console import Console

from itm_harness.benchmarks.ablations.sets import AblationRow, AblationSet, has_recipe
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.rows import NEVER_SHOWN
from itm_harness.benchmarks.records.code_hash import method_code_hash
from itm_harness.benchmarks.records.schema import Record
from itm_harness.benchmarks.runs.job import Job, RunOptions, portable
from itm_harness.benchmarks.runs.ready import jobs_to_train
from itm_harness.benchmarks.runs.run import run
from itm_harness.datasets.spec import find_spec
from itm_harness.methods.registry import find_method


@dataclass(frozen=True)
class PlannedRow:
    """A row on a data set. options: of its run. recorded, missing: seeds; a seed of None is a run without training."""

    row: AblationRow
    options: RunOptions
    recorded: list[int | None]
    missing: list[int]


def plan(
    ablation: AblationSet, rows: list[AblationRow], options: RunOptions, seeds: list[int], records: Iterable[Record]
) -> list[PlannedRow]:
    """What is recorded and what is missing of each row; a row that is the same run as an earlier one misses nothing.

    options: its overrides are common to all rows. A record whose code has changed since counts as missing. Raises
    RunError where a common override is one of those that the rows change.
    """
    if taken := ablation.keys() & set(options.overrides):
        raise RunError(f"--set {min(taken)}: the rows of the ablation set change it themselves; leave it out.")
    dataset = find_spec(options.dataset).name
    candidates = [r for r in records if may_stand_in_tables(r) and r.dataset == dataset]
    candidates = [r for r in candidates if r.method == ablation.method and r.precision == options.precision]
    planned, recipes = [], []
    for row in rows:
        recipe = ablation.expected(row, dataset, portable(options.overrides))
        current = method_code_hash(find_method(ablation.method, row.variant).files)
        found = {r.seed for r in candidates if r.code_hash == current and has_recipe(r, recipe)}
        done = None in found or recipe in recipes
        overrides = {**options.overrides, **row.changes(dataset)}
        planned.append(
            PlannedRow(
                row,
                replace(options, method=ablation.method, variant=row.variant, overrides=overrides),
                sorted(found, key=lambda seed: -1 if seed is None else seed),
                [] if done else [seed for seed in seeds if seed not in found],
            )
        )
        recipes.append(recipe)
    return planned


def may_stand_in_tables(record: Record) -> bool:
    """Was it trained here, on the whole data, and measured on the data it was trained for?"""
    return not {*NEVER_SHOWN, "imported"} & set(record.flags)


def run_missing(planned: list[PlannedRow], accelerator: Accelerator, console: Console) -> list[Record]:
    """Train, test and record what is missing. Raises DataError before the first training where a file is missing."""
    todo = [p for p in planned if p.missing]
    for job in (job for p in todo for job in jobs_to_train(Job(p.options))):
        job.require_files()
    records = []
    for number, p in enumerate(todo, start=1):
        console.print(f"row {number} of {len(todo)}: {p.row.label}", soft_wrap=True)
        records += run(p.options, p.missing, accelerator, console)
    return records


def listing(planned: list[PlannedRow], dataset: str) -> list[str]:
    """A line per row: its label as --rows takes it, what it changes on a data set, and what is recorded."""
    return [f"{p.row.label}: {_shown(p.row, dataset)}; {_recorded(p.recorded)}" for p in planned]


def _shown(row: AblationRow, dataset: str) -> str:
    changes = [f"{key}={json.dumps(value)}" for key, value in row.changes(dataset).items()]
    return ", ".join([*([f"variant {row.variant}"] if row.variant else []), *changes]) or "the recipe as it is"


def _recorded(seeds: list[int | None]) -> str:
    if not seeds:
        return "not recorded"
    return "recorded without training" if None in seeds else f"recorded seeds {', '.join(map(str, seeds))}"
