"""`rerun`: repeat a record from what it stores, and say what is equal and what is not, and why that may be."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from rich.console import Console

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.opening import Opened, open_record
from itm_harness.benchmarks.records.schema import Details, Record
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_harness.methods.errors import MethodError
from itm_harness.methods.recipe import flatten

SHOWN = 20  # differences
NOT_TRAINED_HERE = ("imported", "transfer")
COMPARED = (
    "metrics", "history", "selected_epoch", "steps", "skipped_steps", "first_steps", "parameters", "diverged",
    "recipe", "data_fingerprint",
)  # fmt: skip


@dataclass(frozen=True)
class Rerun:
    """differing: what is not the same, with both values. reasons: what else is not the same and may be why."""

    differing: list[str]
    reasons: list[str]

    @property
    def equal(self) -> bool:
        """Bit for bit?"""
        return not self.differing

    def lines(self, name: str) -> list[str]:
        """For people. name: of the record."""
        if self.equal:
            return [f"{name}: equal bit for bit: metrics, history, ranks, top ten and their scores"]
        told = [f"differs: {what}" for what in self.differing[:SHOWN]]
        told += [f"and {len(self.differing) - SHOWN} more"] if len(self.differing) > SHOWN else []
        return [f"{name}: not equal", *told, *(f"may be why: {reason}" for reason in self.reasons)]


def options_of(record: Record, data_root: Path | None, output: Path, bert: str | None = None) -> RunOptions:
    """What repeats a record. bert: where BERT's weights lie, if not under the name that the record gives.

    Values of its recipe that are other ones today are set as it stores them. Raises RunError where the record was not
    trained here in one command, MethodError or DataError where method or data set are not there.
    """
    if set(NOT_TRAINED_HERE) & set(record.flags) or record.made_by != "run":
        raise RunError(
            f"record {record.id} is of a checkpoint or of an ensemble of recorded runs, which `run` does not make; "
            f"repeat the command that made it: evaluate --checkpoint, or ensemble."
        )
    options = RunOptions(
        method=record.asked("--method", record.method),
        dataset=record.asked("--dataset", record.dataset),
        data_root=data_root,
        variant=record.asked("--variant", "") or None,
        overrides=dict(record.overrides) | ({"text.bert": bert} if bert else {}),
        precision=record.precision,
        limit=record.limit,
        output=output,
        deterministic="--deterministic" in shlex.split(record.command),
        compile="--compile" in shlex.split(record.command),
    )
    return replace(options, overrides=options.overrides | _other_today(record, options))


def _other_today(record: Record, options: RunOptions) -> dict[str, Any]:
    """Values of the record's recipe that today's recipe has otherwise, as far as they can be set."""
    job = Job(options)
    stored, today = dict(flatten(record.recipe)), dict(flatten(job.recipe.values()))
    by_data = {key for key, value in flatten(job.config.model_dump(mode="json")) if today.get(key) != value}
    asked = stored.keys() & today.keys() - options.overrides.keys() - by_data
    changed = {key: stored[key] for key in asked if stored[key] != today[key]}
    settable = {}
    for key, value in sorted(changed.items()):
        try:
            Job(replace(options, overrides=options.overrides | settable | {key: value}))
        except MethodError:  # compare_runs names it
            continue
        settable[key] = value
    return settable


def rerun(options: RunOptions, first: Opened, accelerator: Accelerator, console: Console) -> tuple[Opened, Rerun]:
    """Run `options`, those of the record `first`; returns the new record and how it compares."""
    (record,) = run(options, [first.record.seed or 0], accelerator, console)
    second = open_record(record.id, options.results)
    return second, compare_runs(first, second)


def compare_runs(first: Opened, second: Opened) -> Rerun:
    """What differs between a record and its repetition."""
    before, now = first.record.model_dump(mode="json"), second.record.model_dump(mode="json")
    if not any(epoch.dev_recalls for epoch in first.record.history):  # a record that is older than they
        now["history"] = [{**epoch, "dev_recalls": None} for epoch in now["history"]]
    differing = [
        f"{name}: {_short(old)} then, {_short(new)} now"
        for name in COMPARED
        for name, old, new in _differences(name, before[name], now[name])
    ]
    for benchmark in first.details.keys() & second.details.keys():
        arrays = _differing_arrays(first.details[benchmark], second.details[benchmark])
        differing += [f"{benchmark}: {', '.join(arrays)}"] if arrays else []
    return Rerun(differing, reasons(first.record, second.record) if differing else [])


def _differences(name: str, old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """The leaves that differ, by dotted name."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(key for key in new if key not in old)]
        return [d for key in keys for d in _differences(f"{name}.{key}", old.get(key), new.get(key))]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [d for i, pair in enumerate(zip(old, new, strict=True)) for d in _differences(f"{name}.{i}", *pair)]
    return [] if old == new else [(name, old, new)]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _differing_arrays(first: Details, second: Details) -> list[str]:
    """Names of the per-query arrays whose bits differ, and how many of their rows."""
    found = []
    for field in fields(Details):
        old, new = getattr(first, field.name), getattr(second, field.name)
        if old.shape != new.shape:
            found.append(f"{field.name} (shape {old.shape} then, {new.shape} now)")
        elif old.tobytes() != new.tobytes():
            rows = (old != new).reshape(len(old), -1).any(axis=1)
            found.append(f"{field.name} of {int(np.count_nonzero(rows)):,} of {len(old):,} queries")
    return found


def reasons(first: Record, second: Record) -> list[str]:
    """What may be why two runs of one recipe differ."""
    found = []
    if first.code_hash != second.code_hash:
        found.append(f"the code behind the numbers has changed since revision {first.code.commit[:12]}")
    parts = [name for name in first.data if second.data.get(name, first.data[name]) != first.data[name]]
    if first.data_fingerprint != second.data_fingerprint:
        found.append(f"the data are other ones: {', '.join(parts) or 'the record does not say which part'}")
    found += [
        f"{name} {version} then, {second.versions.get(name, 'none')} now"
        for name, version in first.versions.items()
        if second.versions.get(name) != version
    ]
    found += [
        f"the weights {name} are other ones"
        for name, digest in first.pretrained.items()
        if second.pretrained.get(name) != digest
    ]
    before, now = first.hardware.model_dump(), second.hardware.model_dump()
    found += [
        f"{name}: {value} then, {now[name]} now"
        for name, value in before.items()
        if value not in (now[name], None, "")  # nothing: an older record did not note it
    ]
    if first.hardware.device != "CPU" and "--deterministic" not in shlex.split(first.command):
        found.append("on a GPU without --deterministic sums are in no fixed order")
    return found or ["nothing that records hold: a difference of the machine, or a fault worth a report"]
