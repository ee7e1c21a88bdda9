"""ECCV Caption and CxC in the records of coco: there with ids and library, else left out with a reason."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.build import write_leaderboard
from itm_harness.benchmarks.protocol import eccv
from itm_harness.benchmarks.protocol.judgements import missing_for_judgements, with_judgements
from itm_harness.benchmarks.protocol.matrix_file import evaluate_matrix_file
from itm_harness.benchmarks.records.schema import Metrics
from itm_harness.benchmarks.records.store import read_record, record_path
from itm_harness.benchmarks.runs.checkpoint_evaluation import evaluate_checkpoint
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_harness.datasets.batch import Inputs
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.spec import find_spec
from itm_harness.datasets.split import open_split
from itm_tests.judged import small_library
from itm_tests.trees import write_coco, write_f30k

SMALL = {"embed_size": 16, "train.batch_size": 8, "train.epochs": 1, "text.bert": None, "text.word_dim": 8}


@pytest.fixture
def folder(tmp_path):
    return write_coco(tmp_path / "data")


@pytest.fixture
def library(monkeypatch, folder):
    """The library for 20 images, and their ids in the data set."""
    found = small_library(monkeypatch)
    (folder / "testall_caption_ids.txt").write_text("".join(f"{caption}\n" for caption in found.coco_ids))
    return found


def train(tmp_path, accelerator, quiet, **changes):
    options = RunOptions("gpo", "coco", data_root=tmp_path / "data", output=tmp_path, overrides=SMALL, **changes)
    (record,) = run(options, [0], accelerator, quiet)
    return options, record


def test_a_run_and_an_evaluation_of_its_checkpoint_measure_them(library, tmp_path, accelerator, quiet):
    options, record = train(tmp_path, accelerator, quiet)
    found = record.metrics["coco-5k"].eccv
    assert record.metrics["coco-1k"].eccv is None
    assert found.i2t.cxc_r10 > 0
    assert found.i2t.cxc_r1 == found.i2t.r1 >= record.metrics["coco-5k"].i2t.r1  # more captions are right
    assert read_record(record_path(record, tmp_path / "results" / "local")) == record
    assert "left out" not in quiet.file.getvalue()
    checkpoint = tmp_path / "runs" / record.id / "best.safetensors"
    at_home = replace(options, overrides={})
    assert evaluate_checkpoint(at_home, checkpoint, accelerator, quiet)["coco-5k"].eccv == found


def test_without_ids_a_run_goes_on_without_and_says_what_to_do(tmp_path, folder, accelerator, quiet):
    _, record = train(tmp_path, accelerator, quiet)
    assert record.metrics["coco-5k"].eccv is None
    told = quiet.file.getvalue()
    assert "ECCV Caption and CxC are left out: " in told.splitlines()[0]  # before the training
    assert "testall_caption_ids.txt is missing" in told
    assert "prepare --dataset coco --what caption_ids --from FILE" in told


def test_ids_of_other_captions_cost_no_record(tmp_path, folder, accelerator, quiet):
    (folder / "testall_caption_ids.txt").write_text("".join(f"{i}\n" for i in range(100)))
    _, record = train(tmp_path, accelerator, quiet)
    assert record.metrics["coco-5k"].eccv is None
    told = quiet.file.getvalue()
    assert "testall_caption_ids.txt: these caption ids are not those of COCO's" in told.splitlines()[0]
    (folder / "testall_caption_ids.txt").write_text("1\n")
    sentence = missing_for_judgements(open_dataset("coco", tmp_path / "data"))
    assert "holds 1 ids, but there are 100 captions" in sentence


def test_what_is_missing(monkeypatch, library, tmp_path):
    write_f30k(tmp_path / "data")
    coco, f30k = (open_dataset(name, tmp_path / "data") for name in ("coco", "f30k"))
    assert missing_for_judgements(coco) is None
    assert missing_for_judgements(f30k) is None
    monkeypatch.setattr(eccv, "installed", lambda: False)
    assert "pip install -e '.[eccv]'" in missing_for_judgements(coco)
    assert missing_for_judgements(f30k) is None


def test_a_limited_run_has_none_and_says_nothing(library, tmp_path):
    split = open_split(open_dataset("coco", tmp_path / "data"), "test", Inputs(), limit=10)
    metrics = {"coco-5k": None}
    assert with_judgements(metrics, torch.zeros(10, 50), split, pytest.fail) == metrics


def test_a_matrix_file_with_caption_ids(monkeypatch, library, folder, tmp_path):
    spec = find_spec("coco")
    small = spec.model_copy(update={"benchmarks": [b.model_copy(update={"images": 20}) for b in spec.benchmarks]})
    monkeypatch.setattr("itm_harness.benchmarks.protocol.arrays.find_spec", lambda name: small)
    np.save(tmp_path / "sims.npy", np.random.default_rng(0).standard_normal((20, 100)))
    ids = folder / "testall_caption_ids.txt"
    found = evaluate_matrix_file(tmp_path / "sims.npy", "coco-5k", ids)["coco-5k"]
    assert found.eccv.t2i.cxc_r10 > found.t2i.r1
    assert evaluate_matrix_file(tmp_path / "sims.npy", "coco-5k")["coco-5k"].eccv is None
    with pytest.raises(RunError, match="belong to coco-5k"):
        evaluate_matrix_file(tmp_path / "sims.npy", "coco-1k", ids)


def test_a_record_of_before_is_read_and_one_with_them_is_shown(library, tmp_path, accelerator, quiet):
    _, record = train(tmp_path, accelerator, quiet)
    path = record_path(record, tmp_path / "results" / "local")
    content = json.loads(path.read_text())
    for metrics in content["metrics"].values():
        metrics.pop("eccv")
    path.write_text(json.dumps(content))
    assert read_record(path).metrics["coco-5k"].eccv is None
    (page,), problems = write_leaderboard(tmp_path / "results" / "local", ["json"])
    assert problems == []
    assert "eccv_caption" in page.read_text()  # what AAHR prints
    assert Metrics.model_validate(record.metrics["coco-5k"].model_dump(mode="json")) == record.metrics["coco-5k"]
