"""A sweep that does not run in this process: in others here, on Slurm, or by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.launch.commands import command
from itm_harness.benchmarks.runs.launch.processes import require_gpus, run_processes
from itm_harness.benchmarks.runs.launch.slurm import run_on_slurm
from itm_harness.benchmarks.runs.sweep import Swept, plan, recorded_runs, say_finished
from itm_harness.datasets.spec import nearest

LAUNCHERS = ("local", "submitit", "print")


@dataclass(frozen=True)
class Launch:
    """Where a sweep runs. gpus: of this machine. slurm: key=value for sbatch. device: of each run.

    Raises RunError where these do not go together.
    """

    launcher: str = "local"
    jobs: int | None = None
    gpus: Sequence[str] = ()
    slurm: Sequence[str] = ()
    device: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.launcher not in LAUNCHERS:
            known = ", ".join(LAUNCHERS)
            raise RunError(f"unknown launcher '{self.launcher}'{nearest(self.launcher, LAUNCHERS)}; known: {known}.")
        if self.gpus and self.launcher != "local":
            raise RunError("--gpus is for --launcher local; ask Slurm with --slurm gpus_per_node=1.")
        if self.gpus and self.device:
            raise RunError(f"--gpus gives each run a GPU of its own: leave out --device {self.device}.")
        if self.jobs and self.launcher == "print":
            raise RunError(
                "--jobs is not for --launcher print; give the commands to a tool that runs several at a time."
            )
        if self.slurm and self.launcher != "submitit":
            raise RunError(f"--slurm {self.slurm[0]} is for --launcher submitit.")
        for setting in self.slurm:
            if not all(setting.partition("=")):
                raise RunError(f"--slurm {setting}: write key=value, for example --slurm partition=gpu.")
        require_gpus(self.gpus)

    @property
    def elsewhere(self) -> bool:
        """Do runs get processes of their own?"""
        return self.launcher != "local" or self.jobs is not None or bool(self.gpus)

    @property
    def settings(self) -> dict[str, str]:
        """Options of sbatch."""
        return {key: value for key, _, value in (setting.partition("=") for setting in self.slurm)}


def launch(every: Sequence[RunOptions], seeds: list[int], how: Launch, console: Console) -> Swept:
    """Run every combination that is not finished, and wait for its end. print: only its command, nothing comes back."""
    told = Console(stderr=True) if how.launcher == "print" else console  # standard output holds commands alone
    todo, finished = plan(every, seeds, told)
    say_finished(finished, told)
    if how.launcher == "print":
        for run in todo:
            print(command(run, how.device))
        return Swept()
    if how.launcher == "submitit":
        failures = run_on_slurm(todo, how.settings, how.jobs, how.device, console)
    else:
        failures = run_processes(todo, how.jobs or len(how.gpus), how.gpus, how.device, console)
    return Swept(recorded_runs(every, seeds), failures)
