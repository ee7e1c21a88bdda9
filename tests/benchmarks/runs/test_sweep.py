"""Lists of methods, data sets, variants and seeds: what is refused, skipped, listed as failed."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.interrupt import Interrupted
from itm_harness.benchmarks.records.store import read_records
from itm_harness.benchmarks.runs import run as run_module
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.sweep import combinations, plan, recorded_runs, run_here, sweep_here
from itm_tests.trees import write_coco, write_f30k

SMALL = {"text.bert": None, "embed_size": 16, "train.batch_size": 8, "train.epochs": 1}


@pytest.fixture
def options(tmp_path):
    write_f30k(tmp_path / "data")
    write_coco(tmp_path / "data")
    return RunOptions("", "", tmp_path / "data", overrides=dict(SMALL), output=tmp_path)


def labels(runs):
    return [one.label for one in runs]


def test_everything_is_combined_in_the_order_of_the_lists(options):
    every = combinations(options, ["gpo", "hrem", "gpo"], ["f30k", "coco"], [])
    assert [(o.method, o.dataset) for o in every] == [(m, d) for m in ("gpo", "hrem") for d in ("f30k", "coco")]
    with pytest.raises(RunError, match="--dataset names nothing"):
        combinations(options, ["gpo"], [], [])


def test_what_can_be_refused_is_refused_for_all_before_anything_begins(options, quiet, tmp_path):
    (tmp_path / "data" / "coco_precomp" / "dev_ims.npy").unlink()
    every = combinations(options, ["gpo", "hrem"], ["f30k", "coco"], ["vsepp"])
    with pytest.raises(RunError) as refused:
        plan(every, [0], quiet)
    said = str(refused.value)
    assert "gpo vsepp coco: " in said
    assert "dev_ims.npy is missing" in said
    assert "hrem vsepp f30k: method hrem has no variant 'vsepp'" in said
    assert "gpo vsepp f30k" not in said  # nothing is wrong with that one
    assert not (tmp_path / "runs").exists()


def test_sizes_and_weights_are_looked_at_beforehand(options, quiet):
    large = RunOptions(**{**vars(options), "overrides": {**SMALL, "train.batch_size": 61}})
    with pytest.raises(RunError, match="60 captions, fewer than one batch of 61"):
        plan(combinations(large, ["gpo"], ["f30k"], []), [0, 1], quiet)
    missing = RunOptions(**{**vars(options), "overrides": {**SMALL, "text.bert": "nowhere/bert"}})
    with pytest.raises(RunError, match=r"gpo f30k: .*nowhere/bert"):
        plan(combinations(missing, ["gpo"], ["f30k", "coco"], []), [0], quiet)


def test_a_failed_run_is_listed_and_the_rest_goes_on(options, quiet, tmp_path, accelerator, monkeypatch, capsys):
    def fail(job, identity, *rest):
        if identity.seed == 1:
            raise ZeroDivisionError("an error of ours\nwith details")
        if identity.seed == 2:
            raise RunError("a sentence about the input.")
        return train(job, identity, *rest)

    train = run_module._train
    monkeypatch.setattr(run_module, "_train", fail)
    shown = []
    swept = sweep_here(combinations(options, ["gpo"], ["f30k"], []), [0, 1, 2, 3], accelerator, quiet, shown.append)
    assert [(f.run.seed, f.reason, f.by_input) for f in swept.failures] == [
        (1, "ZeroDivisionError: an error of ours", False),
        (2, "a sentence about the input.", True),
    ]
    assert "Traceback" in capsys.readouterr().err
    assert [record.seed for record in shown] == [0, 3]
    assert swept.records == shown
    monkeypatch.undo()
    todo, finished = plan(combinations(options, ["gpo"], ["f30k"], []), [0, 1, 2, 3], quiet)
    assert labels(todo) == ["gpo f30k seed 1", "gpo f30k seed 2"]
    assert labels(finished) == ["gpo f30k seed 0", "gpo f30k seed 3"]
    every = combinations(replace(options, fresh=True), ["gpo"], ["f30k"], [])
    assert recorded_runs(every, [0, 1, 3]) == [one.record for one in finished] == shown


def test_a_stop_ends_the_sweep(options, quiet, accelerator, monkeypatch):
    def stop(*arguments):
        raise Interrupted

    monkeypatch.setattr(run_module, "_train", stop)
    todo, _ = plan(combinations(options, ["gpo"], ["f30k"], []), [0, 1], quiet)
    with pytest.raises(Interrupted):
        run_here(todo, accelerator, quiet, lambda record: None)


def test_an_ensemble_comes_last_and_is_finished_when_its_members_are(options, tmp_path, accelerator):
    console = Console(file=io.StringIO(), width=200)
    every = combinations(options, ["gsmn"], ["f30k"], ["full", "dense", "sparse"])
    todo, _ = plan(every, [0], console)
    assert labels(todo) == ["gsmn dense f30k seed 0", "gsmn sparse f30k seed 0", "gsmn full f30k seed 0"]
    assert run_here(todo, accelerator, console, lambda record: None) == []
    assert len(read_records(tmp_path / "results" / "local")) == 3
    assert console.file.getvalue().count("already done") == 2  # the members were not trained again
    assert plan(every, [0], console)[0] == []


def test_a_single_run_raises_what_goes_wrong(options, quiet, accelerator, monkeypatch):
    def fail(*arguments):
        raise RunError("a sentence.")

    monkeypatch.setattr(run_module, "_train", fail)
    with pytest.raises(RunError, match="a sentence"):
        sweep_here(combinations(options, ["gpo"], ["f30k"], []), [0], accelerator, quiet, lambda record: None)
