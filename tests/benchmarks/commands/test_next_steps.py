"""What a run suggests is complete: it names the run's records, and the folders that are not the usual ones."""

import shlex
from pathlib import Path

import pytest

from itm_harness.benchmarks.commands.next_steps import next_steps
from itm_harness.benchmarks.runs.job import RunOptions
from itm_tests.command_lines import parse
from itm_tests.stores import Store


@pytest.fixture(autouse=True)
def _no_data_root(monkeypatch):
    monkeypatch.delenv("ITM_DATA", raising=False)


def test_a_single_run_is_shown_and_ranked():
    record = Store().add(dataset="demo")
    assert next_steps([record], RunOptions("gpo", "demo")) == [f"itm show {record.id} --query 0", "itm leaderboard"]


def test_of_a_sweep_two_runs_of_one_benchmark_are_compared():
    store = Store()
    first, _, third = store.add(), store.add(benchmarks=("coco-5k",), dataset="coco"), store.add(seed=1)
    assert f"itm compare {first.id} {third.id}" in next_steps(store.records, RunOptions("gpo", "f8k"))


def test_unusual_folders_are_named():
    record = Store().add(dataset="mine", command="itm run --method gpo --dataset data/mine.yaml --seeds 0")
    options = RunOptions("gpo", "data/mine.yaml", Path("my data"), output=Path("out"))
    steps = next_steps([record, Store().add(seed=1)], options)
    assert steps == [
        f"itm show {record.id} --query 0 --dataset data/mine.yaml --data-root 'my data' --results out/results",
        f"itm compare {record.id} {Store().add(seed=1).id} --results out/results",
        "itm leaderboard --results out/results",
    ]
    for step in steps:
        parse(shlex.split(step)[1:])


def test_the_data_root_of_the_environment_need_not_be_named(monkeypatch):
    monkeypatch.setenv("ITM_DATA", "data")
    record = Store().add()
    (show, _) = next_steps([record], RunOptions("gpo", "f8k", Path("data")))
    assert show == f"itm show {record.id} --query 0"
