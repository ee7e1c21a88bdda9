"""The printed command of a run asks for exactly that run."""

import shlex
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from itm_harness.benchmarks.commands import app as harness
from itm_harness.benchmarks.runs import sweep
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.launch.commands import command
from itm_harness.benchmarks.runs.sweep import Planned
from itm_harness.benchmarks.training import engine

OVERRIDES = {
    "text.bert": None, "optim.lr": 3e-4, "optim.weight_decay": 1e-05, "train.epochs": 3, "sizes": [1, 2],
    "text.model": "a folder/bert's", "augment.words": True, "words": {"run": "fast"},
}  # fmt: skip
FULL = RunOptions(
    "my methods/mean.py:Mean", "mine.yaml", Path("the data"), "dense", OVERRIDES, "bf16", 7, Path("out put"),
    fresh=True, tensorboard=True, hash_whole=True, deterministic=True, features="host", compile=True,
)  # fmt: skip


@pytest.mark.parametrize("options", [FULL, RunOptions("gpo", "demo")])
def test_it_is_read_back_as_the_same_run(options, monkeypatch):
    asked = {}

    def capture(every, seeds, *rest):
        asked.update(every=every, seeds=seeds)
        return sweep.Swept()

    monkeypatch.setattr(sweep, "sweep_here", capture)
    monkeypatch.setattr(engine, "make_accelerator", lambda *asked: SimpleNamespace(is_main_process=True))
    monkeypatch.delenv("ITM_DATA", raising=False)
    line = command(Planned(options, 5), "cpu")
    program, *arguments = shlex.split(line)
    assert program == "itm"
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(SystemExit) as stop:
        harness.main()
    assert not stop.value.code
    assert asked == {"every": [options], "seeds": [5]}


def test_every_option_of_a_run_is_tried_above():
    plain = RunOptions("gpo", "demo")
    assert [f.name for f in fields(RunOptions) if getattr(FULL, f.name) == getattr(plain, f.name)] == []
