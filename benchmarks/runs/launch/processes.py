"""Runs of a sweep as processes on this machine, several at a time, each on a GPU of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.interrupt import StopRequest
from itm_harness.benchmarks.runs.launch.child import BY_INPUT, Child
from itm_harness.benchmarks.runs.launch.commands import arguments
from itm_harness.benchmarks.runs.sweep import Failure, Planned

LOOK_EVERY = 0.2  # seconds


def run_processes(
    runs: Sequence[Planned], jobs: int, gpus: Sequence[str], device: str | None, console: Console
) -> list[Failure]:
    """`jobs` runs at a time; gpus: what CUDA_VISIBLE_DEVICES says to each, in turn; none: as it is.

    Ctrl-C and SIGTERM ask the current runs to save and end, and start no other; a second Ctrl-C does not let them save.
    Raises Interrupted then.
    """
    failures: list[Failure] = []
    for _, group in groupby(runs, key=lambda run: run.after):  # those that need others start when these have ended
        failures += _Pool(list(group), jobs, gpus, device, console).run()
    return failures


def require_gpus(gpus: Sequence[str]) -> None:
    """Raises RunError where one is no number, or not there."""
    import torch

    there = torch.cuda.device_count()
    for gpu in gpus:
        if not gpu.isdecimal() or int(gpu) >= there:
            known = f"0 to {there - 1}" if there else "none"
            raise RunError(f"--gpus {','.join(gpus)}: there is no GPU {gpu} here; there are: {known}.")


def log_file(run: Planned) -> Path:
    """Where what a run prints goes."""
    name = "".join(c if c.isalnum() else "-" for c in run.label)
    return run.options.output / "logs" / f"{name}.log"


class _Pool:
    def __init__(
        self, runs: list[Planned], jobs: int, gpus: Sequence[str], device: str | None, console: Console
    ) -> None:
        self.waiting, self.device, self.console = runs, device, console
        self.places = [gpus[i % len(gpus)] if gpus else None for i in range(jobs)]  # where another run can start
        self.going: list[tuple[Planned, Child, str | None]] = []
        self.failures: list[Failure] = []
        self.stopping = False

    def run(self) -> list[Failure]:
        with StopRequest() as stop:
            try:
                while self.going or (self.waiting and not stop.asked):
                    while self.waiting and self.places and not stop.asked:
                        self._start(self.waiting.pop(0))
                    if stop.asked and not self.stopping:
                        self._stop()
                    time.sleep(LOOK_EVERY)
                    self._collect()
            except KeyboardInterrupt:
                for _, child, _ in self.going:
                    child.stop(at_once=True)
                raise
        stop.raise_if_asked()
        return self.failures

    def _start(self, run: Planned) -> None:
        place, log = self.places.pop(0), log_file(run)
        environment = {} if place is None else {"CUDA_VISIBLE_DEVICES": place}
        self.going.append((run, Child(arguments(run, self.device), log, environment, own_session=True), place))
        self._say(f"started: {run.label}{'' if place is None else f' on GPU {place}'}, log {log}")

    def _stop(self) -> None:
        self.stopping = True
        self._say(f"stopping: {len(self.going)} going, {len(self.waiting)} not begun")
        for _, child, _ in self.going:
            child.stop()

    def _collect(self) -> None:
        ended = [entry for entry in self.going if entry[1].process.poll() is not None]
        for entry in ended:
            run, child, place = entry
            self.going.remove(entry)
            self.places.append(place)
            code = child.process.returncode
            if code == 0:
                self._say(f"done: {run.label}")
            elif not self.stopping:
                self.failures.append(Failure(run, child.reason(), by_input=code == BY_INPUT))
                self._say(f"failed: {run.label}: {self.failures[-1].reason}")
            child.log.close()

    def _say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)
