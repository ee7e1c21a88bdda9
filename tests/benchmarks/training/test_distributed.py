"""Two processes with half of a batch each train like one process with the whole: every method, with the engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods import base
from itm_harness.methods.base import EmbeddingMethod, MethodConfig, Progress
from itm_harness.methods.errors import MethodError
from itm_tests.places import ROOT
from itm_tests.processes import start_two
from itm_tests.small_trainings import RUNS, STEPS, train
from itm_tests.trees import write_f30k


def train_all(root: Path, folder: Path) -> dict:
    return {name: train(name, root, folder) for name in RUNS}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(one process, first of two, second of two) by name."""
    folder = tmp_path_factory.mktemp("distributed")
    root = folder / "data"
    write_f30k(root, images=17, vectors=16)  # 85 captions: where the last batch is kept it has five, two and three
    two = start_two(train_all, folder, root, folder / "two")
    alone, results = train_all(root, folder / "one"), two()
    return {name: (alone[name], *(result[name] for result in results)) for name in RUNS}


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_like_one(trained, name):
    one, *two = trained[name]
    assert len(one["losses"]) >= STEPS
    for process in two:
        assert process["losses"][0] == pytest.approx(one["losses"][0], rel=1e-6)
        assert [terms["total"] for terms in process["losses"]] == pytest.approx(
            [terms["total"] for terms in one["losses"]], rel=1e-6
        )
        for key, values in one["encodings"].items():
            torch.testing.assert_close(process["encodings"][key], values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", RUNS)
def test_all_processes_hold_the_same_weights_statistics_and_queues(trained, name):
    _, first, second = trained[name]
    for key, values in first["state"].items():
        assert torch.equal(values, second["state"][key]), key


def test_a_feature_without_a_row_for_each_pair_is_refused(monkeypatch):
    class Odd(EmbeddingMethod):
        name = "odd"

        def embed_images(self, images):
            return images.regions.sum(dim=1)

        def embed_texts(self, texts):
            return texts.words.float()[:1]

    monkeypatch.setattr(base, "processes", lambda: 2)
    ids = torch.arange(3)
    pairs = Batch(ImageBatch(ids, torch.ones(3, 2, 4)), TextBatch(ids, ids, torch.ones(3, 4).long()))
    with pytest.raises(MethodError, match=r"feature text of odd has shape \(1, 4\), not one row for each of 3 pairs"):
        Odd(MethodConfig())(pairs, Progress())


def launched(*arguments) -> subprocess.CompletedProcess:
    """harness.py run on two processes, by torchrun."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return subprocess.run(
        [sys.executable, *launcher, ROOT / "harness.py", "run", *map(str, arguments), "--device", "cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


def test_a_run_of_two_processes_is_that_of_one(tmp_path, accelerator, quiet):
    write_f30k(tmp_path / "data")
    overrides = {"text.bert": None, "embed_size": 32, "train.batch_size": 8, "train.epochs": 2}
    sets = [part for key, value in overrides.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    asked = ["--method", "gpo", "--dataset", "f30k", "--data-root", tmp_path / "data", "--output", tmp_path / "two"]
    done = launched(*asked, *sets)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "two" / "results" / "local" / "records").glob("*.json")
    two = json.loads(path.read_text())
    options = RunOptions("gpo", "f30k", tmp_path / "data", overrides=overrides, output=tmp_path / "one")
    (one,) = run(options, [0], accelerator, quiet)
    assert two["hardware"]["processes"] == 2
    assert (path.stem, two["steps"], two["recipe"]) == (one.id, one.steps, json.loads(one.model_dump_json())["recipe"])
    assert [e["loss"] for e in two["history"]] == pytest.approx([e.loss for e in one.history], rel=1e-3)
    assert [e["dev_rsum"] for e in two["history"]] == pytest.approx([e.dev_rsum for e in one.history], abs=5)


def test_a_batch_that_cannot_be_shared_equally_is_refused(tmp_path, quiet):
    options = RunOptions("clip", "f30k", tmp_path / "data", "projection", {"train.batch_size": 9}, output=tmp_path)
    write_f30k(tmp_path / "data", vectors=8)
    with pytest.raises(RunError, match=r"train\.batch_size=9 .* cannot be divided among 2; .*multiple of 2"):
        run(options, [0], SimpleNamespace(num_processes=2, is_main_process=True), quiet)
