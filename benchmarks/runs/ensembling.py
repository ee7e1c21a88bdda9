"""An ensemble of runs that are recorded: their checkpoints score test again, and the mean of the matrices is filed.

Stored similarities are not used: in half precision they would tie.
"""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol.evaluate import fits
from itm_harness.benchmarks.protocol.pair_scores import mean_of
from itm_harness.benchmarks.protocol.timed_scoring import Scored, score_split_timed
from itm_harness.benchmarks.records.code_hash import method_code_hash
from itm_harness.benchmarks.records.opening import open_record
from itm_harness.benchmarks.records.places import own_results
from itm_harness.benchmarks.records.schema import Record, RunIdentity
from itm_harness.benchmarks.records.store import write_record
from itm_harness.benchmarks.runs.checkpoint_loading import load_ours
from itm_harness.benchmarks.runs.finished import joined
from itm_harness.benchmarks.runs.job import data_fingerprint, portable
from itm_harness.benchmarks.runs.run import measured, member_totals
from itm_harness.benchmarks.training.checkpoint import BEST, read_about
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import Split, open_split
from itm_harness.methods.base import Method
from itm_harness.methods.registry import Entry, find_method

SELECTIONS = ("test", "last", "dev", "none")  # of members that differ, the ensemble has the first of these


@dataclass(frozen=True)
class Member:
    """A recorded run with its trained model and the test split as it reads it."""

    record: Record
    entry: Entry
    method: Method
    test: Split


def ensemble_of(
    names: list[str],
    output: Path,
    data_root: Path | None,
    overrides: dict[str, Any],
    accelerator: Accelerator,
    console: Console,
) -> Record:
    """File the mean similarity of recorded runs as a record of its own, flagged `ensemble`.

    names: records by id, beginning of an id, or path. output: the folder with results/ and runs/, where the members'
    checkpoints lie. overrides: text.bert at most. Raises RunError where a member has no checkpoint, where its code or
    data has changed since, or where members were measured on different test sets.
    """
    began = time.monotonic()
    records = [open_record(name, output / "results").record for name in names]
    records.sort(key=lambda r: (r.method, r.variant, -1 if r.seed is None else r.seed, r.id))
    _require_comparable(records)
    members = [_member(record, output, data_root, overrides) for record in records]
    _require_one_test_set(members)
    whole = fits(members[0].test, accelerator.device, len(members))
    scored = [_score(member, accelerator, whole) for member in members]
    told = {
        **member_totals(records, scored),
        "command": shlex.join(["itm", "ensemble", *(record.id for record in records)]),
    }
    code_hash = method_code_hash([file for member in members for file in member.entry.files])
    similarity = mean_of([s.similarity for s in scored])
    test = members[0].test
    record, details = measured(_identity(records), similarity, test, code_hash, accelerator, told, began, console)
    console.print(f"record: {write_record(record, details, own_results(output / 'results'))}", soft_wrap=True)
    return record


def _require_comparable(records: list[Record]) -> None:
    first = records[0]
    if len(records) < 2:
        raise RunError(f"an ensemble needs two records or more, not {first.id} alone; name another one.")
    for before, record in pairwise(records):  # in order: equal ones stand beside each other
        if before.id == record.id:
            raise RunError(f"record {record.id} is named twice; an ensemble needs different runs.")
    for record in records:
        if "ensemble" in record.flags:
            raise RunError(f"record {record.id} is an ensemble itself; name its members.")
        if {"imported", "transfer"} & set(record.flags):
            raise RunError(f"record {record.id} was not trained here on its data set; name records of `run`.")
        if (record.dataset, record.limit) != (first.dataset, first.limit):
            raise RunError(
                f"records {first.id} ({_data(first)}) and {record.id} ({_data(record)}) are of different data; "
                f"an ensemble needs members of one data set."
            )


def _data(record: Record) -> str:
    return record.dataset if record.limit is None else f"{record.dataset}, first {record.limit} images"


def _member(record: Record, output: Path, data_root: Path | None, overrides: dict[str, Any]) -> Member:
    entry = find_method(record.asked("--method", record.method), record.variant or None)
    if record.code_hash != method_code_hash(entry.files):
        raise RunError(f"record {record.id} is stale (the code has changed since); run it again: {record.command}")
    checkpoint = output / "runs" / record.id / BEST
    if not checkpoint.is_file():
        raise RunError(f"{checkpoint} is missing, which an ensemble scores with; make it: {record.command}")
    if read_about(checkpoint)["code_hash"] != record.code_hash:
        raise RunError(f"{checkpoint} is of other code than its record; run it again: {record.command}")
    method, vocabulary = load_ours(checkpoint, entry, overrides)
    dataset = open_dataset(record.asked("--dataset", record.dataset), data_root)
    names = ("train", "dev", "test") if record.selection == "dev" else ("train", "test")
    splits = {name: open_split(dataset, name, method.inputs(), vocabulary, record.limit) for name in names}
    if data_fingerprint(splits.values()) != record.data_fingerprint:
        raise RunError(
            f"the data of {dataset.spec.name} is not what {record.id} was trained and measured on; give that data's "
            f"--data-root, or run it again: {record.command}"
        )
    return Member(record, entry, method, splits["test"])


def _require_one_test_set(members: list[Member]) -> None:
    first = members[0]
    for member in members[1:]:
        if (member.test.image_ids, member.test.captions) != (first.test.image_ids, first.test.captions):
            raise RunError(
                f"records {first.record.id} and {member.record.id} have different test sets; an ensemble needs one."
            )


def _score(member: Member, accelerator: Accelerator, whole: bool) -> Scored:
    """In float32, whatever the precision of the training."""
    size, device = member.record.recipe["train"]["eval_batch_size"], accelerator.device
    return score_split_timed(member.method.to(device), member.test, size, device, whole=whole)


def _identity(records: list[Record]) -> RunIdentity:
    """Of the ensemble. Members of one seed make a run of that seed, so that seeds share a row; other seeds are part of
    the recipe. A member without training has none."""
    seeds = {record.seed for record in records if record.seed is not None}
    methods = [record.method for record in records]
    selection = next(s for s in SELECTIONS if any(record.selection == s for record in records))
    recipe: dict[str, Any] = {}
    overrides: dict[str, Any] = {}
    for number, record in enumerate(records, start=1):
        name = f"{number} {record.method} {record.variant}".strip()
        recipe[name] = record.recipe if len(seeds) < 2 else {**record.recipe, "seed": record.seed}
        overrides |= {f"{name}.{key}": value for key, value in record.overrides.items()}
    return RunIdentity(
        method=methods[0] if len(set(methods)) == 1 else "+".join(methods),
        variant="+".join(record.variant or record.method for record in records),
        dataset=records[0].dataset,
        text=joined(record.text for record in records),
        features=joined(record.features for record in records),
        seed=seeds.pop() if len(seeds) == 1 else None,
        selection=selection,
        flags=["ensemble", *(flag for record in records for flag in record.flags)],
        limit=records[0].limit,
        overrides=portable(overrides),
        recipe=recipe,
        data_fingerprint=joined(record.data_fingerprint for record in records),
        precision=joined(record.precision for record in records),
    )
