"""Runs of a sweep as a Slurm array, through submitit. A job that is preempted or out of time saves, is queued again by
Slurm, and goes on where it was."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.interrupt import Interrupted
from itm_harness.benchmarks.runs.launch.child import BY_INPUT, STOPPED, Child
from itm_harness.benchmarks.runs.launch.commands import arguments
from itm_harness.benchmarks.runs.launch.processes import log_file
from itm_harness.benchmarks.runs.sweep import Failure, Planned

if TYPE_CHECKING:
    import submitit

DEFAULT_TIME = "1-00"  # a day
TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<clock>\d+(?::\d+){0,2})")
REQUEUES = 1000  # a training may need many time limits
KILLED_WITHIN = 120  # seconds in which Slurm ends a job that it has told to stop
LOOK_EVERY, ASK_EVERY = 1, 30  # seconds: for results, and asking Slurm about jobs that have none


@dataclass
class SlurmRun:
    """What Slurm runs. arguments: what stands behind `itm`."""

    arguments: list[str]
    log: Path

    def __call__(self) -> tuple[int, str]:
        """Exit code and, where it failed, the reason."""
        self.child = Child(self.arguments, self.log, {})
        code = self.child.wait()
        if code == STOPPED:  # not by us, see checkpoint: Slurm said so, and ends or queues this job itself
            time.sleep(KILLED_WITHIN)
        return code, "" if code == 0 else self.child.reason()

    def checkpoint(self) -> Any:
        """Called by submitit when Slurm announces the end: save and end, to be continued."""
        from submitit.helpers import DelayedSubmission

        self.child.stop()
        self.child.wait()
        return DelayedSubmission(SlurmRun(self.arguments, self.log))


def run_on_slurm(
    runs: Sequence[Planned], settings: Mapping[str, str], jobs: int | None, device: str | None, console: Console
) -> list[Failure]:
    """Submit the runs as an array, `jobs` at a time at most, and wait for their end.

    settings: options of sbatch by their names; cluster=local: processes here instead of Slurm, to try things out.
    Ctrl-C ends the waiting, not the jobs, and raises Interrupted.
    """
    if not runs:
        return []
    executor = _executor(runs[0].options.output / "slurm", settings, jobs)
    failures: list[Failure] = []
    for _, group in groupby(runs, key=lambda run: run.after):  # those that need others start when these have ended
        submitted = _submit(executor, list(group), device, console)
        try:
            failures += _collect(submitted, console)
        except KeyboardInterrupt as error:
            _say(console, f"no longer waiting; the jobs go on: {', '.join(job.job_id for _, job in submitted)}")
            raise Interrupted from error
    return failures


def _executor(folder: Path, settings: Mapping[str, str], jobs: int | None) -> submitit.Executor:
    """Raises RunError where submitit or Slurm is missing, or a setting is wrong."""
    try:
        import submitit
    except ImportError as error:
        raise RunError("--launcher submitit needs the submitit package: pip install -e '.[slurm]'.") from error
    given = {key.replace("-", "_"): value for key, value in settings.items()}
    if given.pop("cluster", "slurm") == "local":
        local = submitit.LocalExecutor(folder)
        local.update_parameters(timeout_min=_minutes(given.get("time", DEFAULT_TIME)))
        return local
    for program in ("sbatch", "srun"):
        if shutil.which(program) is None:
            raise RunError(
                f"--launcher submitit: there is no {program} here; run it where Slurm is, or use --launcher local."
            )
    executor = submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES)
    known = executor._valid_parameters()
    own = {key: int(value) if value.isdecimal() else value for key, value in given.items() if key in known}
    others = {key: value for key, value in given.items() if key not in known}
    own |= {"time": _minutes(given.get("time", DEFAULT_TIME)), "job_name": "itm"}
    own |= {"array_parallelism": jobs} if jobs else {}
    executor.update_parameters(**own, additional_parameters=others)
    return executor


def _minutes(time: str) -> int:
    """Slurm's ways to write a time: minutes, [hours:]minutes:seconds, days-hours[:minutes[:seconds]]."""
    found = TIME.fullmatch(time)
    if found is None:
        raise RunError(f"--slurm time={time}: write minutes, HOURS:MINUTES:SECONDS or DAYS-HOURS, as for sbatch.")
    days, clock = found["days"], [int(part) for part in found["clock"].split(":")]
    if days is not None:
        clock += [0] * (3 - len(clock))
    elif len(clock) < 3:
        clock = [0, *clock] if len(clock) == 2 else [0, clock[0], 0]
    hours, minutes, seconds = clock
    return max(1, (24 * int(days or 0) + hours) * 60 + minutes + (seconds > 0))


def _submit(
    executor: submitit.Executor, runs: list[Planned], device: str | None, console: Console
) -> list[tuple[Planned, submitit.Job]]:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        with executor.batch():
            jobs = [executor.submit(SlurmRun(arguments(run, device), log_file(run))) for run in runs]
    except (FailedJobError, FailedSubmissionError) as error:
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise RunError(f"Slurm did not take the jobs: {said[-1]}; correct the --slurm settings.") from error
    for run, job in zip(runs, jobs, strict=True):
        _say(console, f"submitted: {run.label} as job {job.job_id}, log {log_file(run)}")
    return list(zip(runs, jobs, strict=True))


def _collect(waiting: list[tuple[Planned, submitit.Job]], console: Console) -> list[Failure]:
    failures, looked = [], time.monotonic()
    while waiting:
        time.sleep(LOOK_EVERY)
        gone: set[str] = set()
        if time.monotonic() - looked > ASK_EVERY:
            gone, looked = _gone([job for _, job in waiting]), time.monotonic()
        ended = [(run, job) for run, job in waiting if job.paths.result_pickle.exists() or job.job_id in gone]
        waiting = [entry for entry in waiting if entry not in ended]
        for run, job in ended:
            failure = _failure(run, job)
            failures += [failure] if failure else []
            _say(console, f"failed: {run.label}: {failure.reason}" if failure else f"done: {run.label}")
    return failures


def _failure(run: Planned, job: submitit.Job) -> Failure | None:
    if not job.paths.result_pickle.exists():
        return Failure(run, f"its job ended without a result (memory, time, cancelled?); see {job.paths.stderr}")
    try:
        code, reason = job.result()
    except Exception as error:
        return Failure(run, f"its job failed: {str(error).strip().splitlines()[-1]}; see {job.paths.stderr}")
    return Failure(run, reason, by_input=code == BY_INPUT) if code else None


def _gone(jobs: list[submitit.Job]) -> set[str]:
    """Ids of the jobs that wait or run no more. Accounting is not asked: not every cluster keeps it."""
    import submitit

    if not isinstance(jobs[0], submitit.SlurmJob):
        return {job.job_id for job in jobs if job.done()}
    ids = [job.job_id for job in jobs]
    asked = subprocess.run(
        ["squeue", "--noheader", "--array", "--format=%i", "--jobs", ",".join(ids)], capture_output=True, text=True
    )
    if asked.returncode and "Invalid job id" not in asked.stderr:
        return set()  # it cannot say now
    return set(ids) - set(asked.stdout.split())


def _say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
