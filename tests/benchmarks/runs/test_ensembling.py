"""Ensembles of recorded runs: the mean of what their checkpoints score, filed as a record of its own."""

import json

import pytest
import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.build import current_code_hash
from itm_harness.benchmarks.protocol.evaluate import score_split
from itm_harness.benchmarks.protocol.ranks import evaluate_matrix
from itm_harness.benchmarks.records.store import read_records, record_path
from itm_harness.benchmarks.runs.ensembling import ensemble_of
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_harness.benchmarks.training.checkpoint import BEST, load_model
from itm_tests.trees import write_f30k

SMALL = {"text.bert": None, "embed_size": 32, "train.batch_size": 8, "train.epochs": 1}


@pytest.fixture
def data(tmp_path):
    write_f30k(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def make(data, tmp_path, accelerator, quiet):
    """Records of runs in one output folder."""

    def call(method="gpo", seeds=(0,), **changes):
        overrides = {**SMALL, **changes.pop("overrides", {})}
        options = RunOptions(method, "f30k", data, overrides=overrides, output=tmp_path, **changes)
        return run(options, list(seeds), accelerator, quiet)

    return call


@pytest.fixture
def ensemble(data, tmp_path, accelerator, quiet):
    def call(*records):
        return ensemble_of([getattr(r, "id", r) for r in records], tmp_path, data, {}, accelerator, quiet)

    return call


def matrix(record, data, tmp_path):
    """What the record's checkpoint scores."""
    job = Job(RunOptions(record.method, "f30k", data, record.variant, overrides=SMALL, output=tmp_path))
    method = job.build(0)
    load_model(tmp_path / "runs" / record.id / BEST, method)
    return score_split(method, job.split("test"), 7, torch.device("cpu")), job.split("test").image_of_text


def test_the_mean_of_two_methods_is_filed(make, ensemble, data, tmp_path):
    (gpo,), (hrem,) = make("gpo"), make("hrem")
    record = ensemble(hrem, gpo)
    (a, owner), (b, _) = matrix(gpo, data, tmp_path), matrix(hrem, data, tmp_path)
    expected = evaluate_matrix((a + b) / 2, owner)
    assert record.metrics["f30k-1k"].rsum == pytest.approx(expected.rsum)
    assert record.metrics["f30k-1k"].t2i.mean == pytest.approx(expected.t2i.mean)
    assert "ensemble" in record.flags
    assert (record.method, record.variant, record.seed, record.selection) == ("gpo+hrem", "gpo+fusion", 0, "dev")
    assert record.parameters == gpo.parameters + hrem.parameters
    assert record.command == f"itm ensemble {gpo.id} {hrem.id}"
    assert record in read_records(tmp_path / "results" / "local")
    assert ensemble(gpo, hrem).identity == record.identity  # whatever the order


def test_seeds_of_an_ensemble_share_a_row_unless_they_differ(make, ensemble):
    gpo, hrem = make("gpo", (0, 1)), make("hrem", (0, 1))
    same = [ensemble(gpo[seed], hrem[seed]) for seed in (0, 1)]
    assert same[0].group_key == same[1].group_key
    assert [record.seed for record in same] == [0, 1]
    mixed = ensemble(*gpo)
    assert (mixed.method, mixed.variant, mixed.seed) == ("gpo", "gpo+gpo", None)
    assert {values["seed"] for values in mixed.recipe.values()} == {0, 1}
    assert mixed.identity != ensemble(gpo[0], hrem[1]).identity


def test_the_code_of_all_members_decides_whether_it_is_stale(make, ensemble):
    (gpo,), (hrem,) = make("gpo"), make("hrem")
    record = ensemble(gpo, hrem)
    assert record.code_hash == current_code_hash(record.method, record.variant)
    assert record.code_hash not in (gpo.code_hash, hrem.code_hash)
    assert current_code_hash("hrem", "fusion+standalone") == current_code_hash("hrem", "full")
    assert current_code_hash("gpo+mine", "gpo+mine") is None
    assert current_code_hash("gpo+mine", "") is None


def test_a_missing_checkpoint_is_named_with_the_command_that_makes_it(make, ensemble, tmp_path):
    first, second = make("gpo", (0, 1))
    (tmp_path / "runs" / second.id / BEST).unlink()
    with pytest.raises(RunError, match=r"best\.safetensors is missing.*itm run --method gpo.*--seeds 1"):
        ensemble(first, second)


def test_what_is_no_ensemble_is_refused(make, ensemble, tmp_path):
    first, second = make("gpo", (0, 1))
    with pytest.raises(RunError, match="two records or more"):
        ensemble(first)
    with pytest.raises(RunError, match=f"{first.id} is named twice"):
        ensemble(first, second, first)
    with pytest.raises(RunError, match="is not among those of"):
        ensemble(first, "gpo-f30k-s7")
    both = ensemble(first, second)
    with pytest.raises(RunError, match=r"is an ensemble itself"):
        ensemble(first, both)


def test_members_of_different_data_are_refused(make, ensemble):
    (whole,), (part,) = make(), make(limit=8)
    with pytest.raises(RunError, match=r"f30k, first 8 images.*different data"):
        ensemble(whole, part)


def test_data_or_code_that_has_changed_since_is_refused(make, ensemble, data, tmp_path):
    first, second = make("gpo", (0, 1))
    path = record_path(first, tmp_path / "results" / "local")
    content = path.read_text()
    path.write_text(json.dumps({**json.loads(content), "code_hash": "older"}))
    with pytest.raises(RunError, match=f"{first.id} is stale.*itm run"):
        ensemble(first, second)
    path.write_text(content)
    captions = data / "f30k" / "precomp" / "test_caps.txt"
    captions.write_text(captions.read_text().replace("beach", "street"))
    with pytest.raises(RunError, match="the data of f30k is not what"):
        ensemble(first, second)
