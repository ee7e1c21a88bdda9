"""A run whose names, recipe values and files were found right, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from numbers import Integral

from rich.console import Console

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol.judgements import missing_for_judgements
from itm_harness.benchmarks.records.schema import Record
from itm_harness.benchmarks.runs.finished import current, finished_ensemble, recorded
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.training.engine import batches_per_epoch


class Ready:
    """A method on a data set. members: the jobs that train, itself or those of a variant that is an ensemble."""

    def __init__(self, options: RunOptions) -> None:
        """Raises MethodError or DataError where a name or a recipe value is wrong or a file is missing."""
        self.job = Job(options)
        self.members = jobs_to_train(self.job)
        self.is_ensemble = self.members != [self.job]
        for member in self.members:
            member.require_files()

    def different(self, seeds: Iterable[int]) -> list[int]:
        """The seeds that make a difference, each once: without training all give the same.

        Raises RunError where one is no whole number from 0.
        """
        different = list(dict.fromkeys(seeds))
        if not all(isinstance(seed, Integral) and seed >= 0 for seed in different):
            raise RunError(f"seeds {', '.join(map(str, different))}: give whole numbers from 0, for example 0, 1, 2.")
        return [int(seed) for seed in different[: None if self.is_ensemble or self.job.trains else 1]]

    def say_what_will_be_missing(self, console: Console) -> None:
        """Of measures that a test will lack."""
        if missing := missing_for_judgements(self.job.dataset):
            console.print(missing, soft_wrap=True)

    def require_trainable(self, processes: int = 1) -> None:
        """Raises what a training would raise before its first step: of data, weights and sizes."""
        for member in self.members:
            require_equal_shares(member, processes)
            member.identity(0)
            member.build(0)
            if member.trains:
                batches_per_epoch(member.split("train"), member.recipe, processes)

    def finished(self, seed: int) -> Record | None:
        """The record of a seed that need not be run again."""
        records = [current(m, recorded(m, m.identity(seed))) for m in self.members]
        if None in records:
            return None
        return finished_ensemble(self.job, records, seed) if self.is_ensemble else records[0]


def jobs_to_train(job: Job) -> list[Job]:
    """The job itself, or the members of a variant that is an ensemble."""
    members = job.kind.ensembles.get(job.recipe.variant)
    return [job] if members is None else [Job(replace(job.options, variant=member)) for member in members]


def require_equal_shares(job: Job, processes: int) -> None:
    """Raises RunError where a batch does not divide among the processes."""
    size = job.recipe.train.batch_size
    if size % processes:
        raise RunError(
            f"train.batch_size={size} is the batch of all processes together and cannot be divided among {processes}; "
            f"set train.batch_size to a multiple of {processes}, or start another number of processes."
        )
