"""Runs as Slurm jobs, with submitit's local executor in Slurm's place."""

import signal
import time

import psutil
import pytest
import submitit

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.store import read_records
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.launch import slurm
from itm_harness.benchmarks.runs.launch.commands import arguments
from itm_harness.benchmarks.runs.launch.processes import log_file
from itm_harness.benchmarks.runs.launch.slurm import SlurmRun, run_on_slurm
from itm_harness.benchmarks.runs.sweep import combinations, plan
from itm_tests.small_runs import BROKEN, SMALL
from itm_tests.trees import write_f30k

LOCAL = {"cluster": "local", "time": "10"}


@pytest.fixture
def options(tmp_path):
    write_f30k(tmp_path / "data")
    return RunOptions("", "", tmp_path / "data", overrides=dict(SMALL), output=tmp_path / "out")


def test_what_fails_is_listed_and_what_is_finished_is_skipped(options, tmp_path, quiet):
    (tmp_path / "broken.py").write_text(BROKEN)
    every = combinations(options, [str(tmp_path / "broken.py"), "gpo"], ["f30k"], [])
    (failure,) = run_on_slurm(plan(every, [0], quiet)[0], LOCAL, None, "cpu", quiet)
    assert failure.run.options.method.endswith("broken.py")
    assert failure.reason.startswith("ValueError: it breaks in its first step")
    assert [record.method for record in read_records(tmp_path / "out" / "results" / "local")] == ["gpo"]
    todo, _ = plan(every, [0], quiet)
    assert todo == [failure.run]


def test_a_preempted_job_goes_on_where_it_was(options, tmp_path, quiet):
    longer = RunOptions(**{**vars(options), "overrides": {**SMALL, "train.epochs": 40}})
    (run,), _ = plan(combinations(longer, ["gpo"], ["f30k"], []), [0], quiet)
    executor = slurm._executor(tmp_path / "slurm", LOCAL, None)
    job = executor.submit(SlurmRun(arguments(run, "cpu"), log_file(run)))
    until = time.monotonic() + 120
    while not (log_file(run).exists() and "epoch 2/40" in log_file(run).read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    (task,) = psutil.Process(job._process.pid).children()
    task.send_signal(signal.SIGUSR2)  # as Slurm announces the end of a job
    assert job.result() == (0, "")
    said = log_file(run).read_text()
    assert "stopped, everything is saved" in said
    assert "goes on at epoch" in said
    (record,) = read_records(tmp_path / "out" / "results" / "local")
    assert [epoch.epoch for epoch in record.history] == list(range(40))


def test_settings_reach_sbatch(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda name: name)
    settings = {"partition": "gpu", "gpus-per-node": "1", "time": "1-02:30:01", "reservation": "ours", "mem": "64G"}
    executor = slurm._executor(tmp_path, settings, 3)
    assert isinstance(executor, submitit.SlurmExecutor)
    text = executor._make_submission_file_text("true", "id")
    for line in ("partition=gpu", "gpus-per-node=1", "time=1591", "reservation=ours", "mem=64G", "signal=USR2@90"):
        assert f"#SBATCH --{line}\n" in text
    assert executor.parameters["array_parallelism"] == 3


@pytest.mark.parametrize(
    ("text", "minutes"), [("90", 90), ("30:01", 31), ("2:00:00", 120), ("1-12", 2160), ("1-00:05", 1445)]
)
def test_times_are_read_as_slurm_reads_them(text, minutes):
    assert slurm._minutes(text) == minutes


def test_what_is_wrong_is_said(options, tmp_path, quiet, monkeypatch):
    with pytest.raises(RunError, match="--slurm time=soon: write minutes"):
        slurm._minutes("soon")
    monkeypatch.setattr(slurm.shutil, "which", lambda name: None)
    with pytest.raises(RunError, match="no sbatch here"):
        slurm._executor(tmp_path, {"partition": "gpu"}, None)


def test_slurm_that_refuses_the_jobs_is_quoted(options, tmp_path, quiet, monkeypatch):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sbatch", "srun"):  # submitit looks for both
        (programs / name).write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpo' >&2\nexit 1\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    todo, _ = plan(combinations(options, ["gpo"], ["f30k"], []), [0], quiet)
    with pytest.raises(RunError, match=r"Slurm did not take the jobs: .*invalid partition specified: gpo"):
        run_on_slurm(todo, {"partition": "gpo"}, None, None, quiet)
