"""Several runs from one command: every method on every data set, in every variant, with every seed."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, product

from accelerate import Accelerator
from rich.console import Console

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.interrupt import Interrupted
from itm_harness.benchmarks.records.schema import Record
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.ready import Ready
from itm_harness.benchmarks.runs.run import run, run_ready
from itm_harness.datasets.errors import DataError
from itm_harness.methods.errors import MethodError

USER_ERRORS = (DataError, MethodError, RunError)
NO_VARIANT: tuple[str | None, ...] = (None,)


@dataclass(frozen=True)
class Planned:
    """One run of a sweep. after: it needs the runs of others, as an ensemble does those of its members.

    record: what it filed, if it is finished.
    """

    options: RunOptions
    seed: int
    after: bool = False
    record: Record | None = None

    @property
    def label(self) -> str:
        """How it is called in lists: method, variant, data set, seed."""
        parts = (self.options.method, self.options.variant, self.options.dataset, f"seed {self.seed}")
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Failure:
    """A run that failed, with its reason in a sentence. by_input: what the user gave was wrong, not the code."""

    run: Planned
    reason: str
    by_input: bool = False


@dataclass(frozen=True)
class Swept:
    """What became of a sweep. records: of its runs, those that were finished before included."""

    records: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def combinations(
    options: RunOptions, methods: Sequence[str], datasets: Sequence[str], variants: Sequence[str]
) -> list[RunOptions]:
    """The options of every combination, in the order they are named. No variants: each method's first."""
    for name, values in (("--method", methods), ("--dataset", datasets)):
        if not values:
            raise RunError(f"{name} names nothing; write a name, or several separated by commas.")
    every = product(dict.fromkeys(methods), dict.fromkeys(datasets), dict.fromkeys(variants) or NO_VARIANT)
    return [replace(options, method=method, dataset=dataset, variant=variant) for method, dataset, variant in every]


def sweep_here(
    every: Sequence[RunOptions],
    seeds: list[int],
    accelerator: Accelerator,
    console: Console,
    show: Callable[[Record], None],
) -> Swept:
    """All runs, one after the other, in this process; a single one raises what goes wrong. show: each new record."""
    if len(every) == len(seeds) == 1:
        records = run(every[0], seeds, accelerator, console)
        for record in records:
            show(record)
        return Swept(records)
    todo, finished = plan(every, seeds, console, accelerator.num_processes)
    say_finished(finished, console)
    records = [one.record for one in finished if one.record]

    def keep(record: Record) -> None:
        records.append(record)
        show(record)

    return Swept(records, run_here(todo, accelerator, console, keep))


def recorded_runs(every: Sequence[RunOptions], seeds: list[int]) -> list[Record]:
    """The records of a sweep that was run elsewhere, as far as it is finished."""
    found = []
    for options in every:
        ready = Ready(replace(options, fresh=False))
        found += [ready.finished(seed) for seed in ready.different(seeds)]
    return [record for record in found if record is not None]


def say_finished(runs: Sequence[Planned], console: Console) -> None:
    """A line for each run that is skipped."""
    for one in runs:
        _say(f"already done: {one.label}; --fresh runs it again", console)


def plan(
    every: Sequence[RunOptions], seeds: list[int], console: Console, processes: int = 1
) -> tuple[list[Planned], list[Planned]]:
    """The runs that are to be done and those that are finished; what can be refused is refused here, all at once.

    Runs that need others come last. Raises RunError with a sentence for each combination that cannot run.
    """
    todo: list[Planned] = []
    finished: list[Planned] = []
    refused: list[str] = []
    for options in every:
        try:
            ready = Ready(options)
            ready.require_trainable(processes)
        except USER_ERRORS as error:
            refused.append(str(error) if len(every) == 1 else f"{_name(options)}: {error}")
            continue
        for seed in ready.different(seeds):
            one = Planned(options, seed, after=ready.is_ensemble, record=ready.finished(seed))
            (todo if one.record is None else finished).append(one)
    if refused:
        raise RunError("\n".join([*refused, *_advice(every)]))
    return sorted(todo, key=lambda one: one.after), finished


def _advice(every: Sequence[RunOptions]) -> list[str]:
    if len(every) == 1:
        return []
    return ["nothing was begun: methods, data sets and variants of a list are all combined; name apart what differs."]


def _name(options: RunOptions) -> str:
    return " ".join(part for part in (options.method, options.variant, options.dataset) if part)


def run_here(
    runs: Iterable[Planned], accelerator: Accelerator, console: Console, show: Callable[[Record], None]
) -> list[Failure]:
    """One run after the other in this process; a failed one does not stop the rest. Ctrl-C does.

    In a training of several processes the first failure ends all: the other processes cannot know of it.
    """
    failures: list[Failure] = []
    for options, group in groupby(runs, key=lambda one: one.options):
        ready = Ready(options)
        ready.say_what_will_be_missing(console)
        for one in group:
            try:
                show(run_ready(ready, one.seed, accelerator, console))
            except Interrupted:
                raise
            except Exception as error:
                if accelerator.num_processes > 1:
                    raise
                failures.append(_failure(one, error))
                _say(f"failed: {one.label}: {failures[-1].reason}", console)
            accelerator.free_memory()
            gc.collect()  # a failed run's tensors hang on its traceback
    return failures


def _failure(one: Planned, error: Exception) -> Failure:
    if isinstance(error, USER_ERRORS):
        return Failure(one, str(error), by_input=True)
    traceback.print_exception(error, file=sys.stderr)
    return Failure(one, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}")


def _say(line: str, console: Console) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
