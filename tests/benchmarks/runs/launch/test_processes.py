"""Runs in processes of their own: several at a time, on GPUs in turn, failures, Ctrl-C."""

import signal
import subprocess
import sys

import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.interrupt import Interrupted
from itm_harness.benchmarks.records.store import read_records
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.launch import child, processes
from itm_harness.benchmarks.runs.launch.child import Child
from itm_harness.benchmarks.runs.launch.processes import log_file, require_gpus, run_processes
from itm_harness.benchmarks.runs.sweep import Planned, combinations, plan
from itm_tests.small_runs import BROKEN, SMALL
from itm_tests.trees import write_f30k


def test_what_fails_is_listed_and_what_is_finished_is_skipped(tmp_path, quiet):
    write_f30k(tmp_path / "data")
    (tmp_path / "broken.py").write_text(BROKEN)
    options = RunOptions("", "", tmp_path / "data", overrides=dict(SMALL), output=tmp_path / "out")
    every = combinations(options, ["gpo", str(tmp_path / "broken.py")], ["f30k"], [])
    failures = run_processes(plan(every, [0], quiet)[0], 2, [], "cpu", quiet)
    (failure,) = failures
    assert failure.run.options.method.endswith("broken.py")
    assert failure.reason.startswith("ValueError: it breaks in its first step (exit code 1; see ")
    assert not failure.by_input
    assert "Traceback" in log_file(failure.run).read_text()
    assert [record.method for record in read_records(tmp_path / "out" / "results" / "local")] == ["gpo"]
    todo, finished = plan(every, [0], quiet)
    assert todo == [failure.run]
    assert [one.options.method for one in finished] == ["gpo"]


class Sleeper(Child):
    """A child that sleeps instead of training, and notes where."""

    seen: list = []  # noqa: RUF012 - emptied by each test
    code = "import time; time.sleep(0.3)"

    def __init__(self, arguments, log, environment, own_session=False):
        self.seen.append((environment.get("CUDA_VISIBLE_DEVICES"), own_session))
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log.open("a+b")
        self.begins = 0
        self.process = subprocess.Popen([sys.executable, "-c", self.code])


@pytest.fixture
def sleeper(monkeypatch):
    monkeypatch.setattr(processes, "Child", Sleeper)
    monkeypatch.setattr(Sleeper, "seen", [])
    return Sleeper


def runs(tmp_path, count, after=0):
    options = RunOptions("gpo", "f30k", output=tmp_path)
    return [Planned(options, seed, after=seed >= count - after) for seed in range(count)]


def test_each_run_gets_the_gpu_that_is_free(tmp_path, sleeper, quiet):
    assert run_processes(runs(tmp_path, 4), 2, ["3", "5"], None, quiet) == []
    assert sorted(sleeper.seen) == [("3", True), ("3", True), ("5", True), ("5", True)]


def test_a_run_that_needs_others_waits_for_all_of_them(tmp_path, sleeper, quiet):
    run_processes(runs(tmp_path, 3, after=1), 3, [], None, quiet)
    told = [line.split(":")[0] for line in quiet.file.getvalue().splitlines()]
    assert told == ["started", "started", "done", "done", "started", "done"]


def test_ctrl_c_stops_what_runs_and_starts_no_other(tmp_path, sleeper, quiet, monkeypatch):
    monkeypatch.setattr(Sleeper, "code", "import time; time.sleep(60)")
    started = processes._Pool._start

    def start(self, run):
        started(self, run)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(processes._Pool, "_start", start)
    with pytest.raises(Interrupted):
        run_processes(runs(tmp_path, 3), 1, [], None, quiet)
    assert len(sleeper.seen) == 1
    assert "stopping: 1 going, 2 not begun" in quiet.file.getvalue()


def test_gpus_that_are_not_there_are_refused():
    with pytest.raises(RunError, match=r"--gpus 0,x: there is no GPU (0|x) here"):
        require_gpus(["0", "x"])


def test_the_reason_of_a_child_is_its_last_line(tmp_path, monkeypatch):
    (tmp_path / "harness.py").write_text(
        "import sys; print('one'); print('a sentence.\\n'); sys.exit(int(sys.argv[1]))"
    )
    monkeypatch.setattr(child, "COMMAND", [str(tmp_path / "harness.py")])
    log = tmp_path / "logs" / "a.log"
    refused, crashed = Child(["2"], log, {}), Child(["1"], tmp_path / "b.log", {})
    assert (refused.wait(), refused.reason()) == (2, "a sentence.")
    assert (crashed.wait(), crashed.reason()) == (1, f"a sentence. (exit code 1; see {tmp_path / 'b.log'})")
    (tmp_path / "harness.py").write_text("import os; os.kill(os.getpid(), 9)")
    killed = Child([], log, {})
    assert (killed.wait(), killed.reason()) == (-9, f"ended by SIGKILL; see {log}")
