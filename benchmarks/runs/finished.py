"""Which runs need not be run again: those whose record is there, of this very code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from itm_harness.benchmarks.records.schema import Record, RunIdentity
from itm_harness.benchmarks.records.store import read_record, record_path
from itm_harness.benchmarks.runs.job import Job

DONE = "done"  # in a run's folder: the run came to its end here


def run_folder(job: Job, identity: RunIdentity) -> Path:
    """Where a run keeps its checkpoints and its model."""
    return job.options.output / "runs" / identity.id


def filed(job: Job, identity: RunIdentity) -> Path | None:
    """The file of a run's record, the user's own before a contributed one; None where there is none."""
    paths = (record_path(identity, folder) for folder in job.options.seen_results)
    return next((path for path in paths if path.exists()), None)


def recorded(job: Job, identity: RunIdentity) -> Record | None:
    """The record of this very run, of whatever code, unless it is to be made anew or was made elsewhere."""
    path = filed(job, identity)
    if job.options.fresh or path is None or not (run_folder(job, identity) / DONE).exists():
        return None
    return read_record(path)


def current(job: Job, record: Record | None) -> Record | None:
    """The record, if the code behind it has not changed since."""
    return record if record is not None and record.code_hash == job.code_hash else None


def finished_ensemble(job: Job, members: list[Record], seed: int) -> Record | None:
    """The record of an ensemble that was made after those of its members."""
    path = filed(job, ensemble_identity(job, members, seed))
    if job.options.fresh or path is None:
        return None
    record = current(job, read_record(path))
    return record if record and all(record.created >= member.created for member in members) else None


def ensemble_identity(job: Job, members: list[Record], seed: int) -> RunIdentity:
    """What makes an ensemble this one: its members' recipes."""
    identity = job.identity(seed)
    recipe = {record.variant: record.recipe for record in members}
    flags = sorted({*identity.flags, *(flag for record in members for flag in record.flags), "ensemble"})
    read = {name: joined(getattr(r, name) for r in members) for name in ("features", "text", "data_fingerprint")}
    return identity.model_copy(update={**read, "recipe": recipe, "flags": tuple(flags)})


def joined(labels: Iterable[str]) -> str:
    """Each once, in order."""
    return " + ".join(dict.fromkeys(labels))
