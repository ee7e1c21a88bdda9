"""VSD as a user runs it: on every host, resumed, refused, from official checkpoints."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.interrupt import Interrupted
from itm_harness.benchmarks.records.store import read_details, read_records
from itm_harness.benchmarks.runs.checkpoint_evaluation import evaluate_checkpoint
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.runs.memory_estimate import expected_memory
from itm_harness.benchmarks.runs.run import run
from itm_harness.benchmarks.training import engine
from itm_harness.datasets.errors import DataError
from itm_harness.methods import official
from itm_harness.methods.errors import MethodError
from itm_harness.methods.registry import find_method
from itm_tests.places import GOLDEN
from itm_tests.small_methods import SIMPLE
from itm_tests.trees import write_coco, write_f30k

CASES = GOLDEN / "vsd"

SMALL = {
    "gpo-dagger": {"host.embed_size": 32},
    "gpo-star": {"host.embed_size": 32},
    "hrem-dagger": {"host.embed_size": 32, "phases.graph.step": 5},  # of 8,000, which 21 steps never reach
    "hrem-star": {"host.embed_size": 32, "phases.graph.step": 5},
    "clip-star": {},
}
QUICK = {"prototypes": 8, "train.batch_size": 8, "train.epochs": 3}


def options(tmp_path, variant, dataset="f30k", method="vsd", **overrides):
    values = {**QUICK, **SMALL.get(variant, {}), **overrides}
    return RunOptions(method, dataset, tmp_path / "data", variant, values, output=tmp_path)


@pytest.fixture
def f30k(tmp_path):
    write_f30k(tmp_path / "data", vectors=32)
    return tmp_path / "data" / "f30k" / "precomp"


@pytest.mark.parametrize("variant", SMALL)
def test_each_variant_trains_with_its_own_recipe(variant, f30k, tmp_path, tiny_bert, accelerator, quiet):
    job = options(tmp_path, variant, **({} if variant.startswith("clip") else {"text.bert": str(tiny_bert)}))
    (record,) = run(job, [0], accelerator, quiet)
    host, source = variant.split("-")
    own = Job(options(tmp_path, variant)).recipe.values()
    assert (record.recipe["optim"], record.recipe["augment"]) == (own["optim"], own["augment"])
    assert (record.method, record.variant, record.selection) == ("vsd", variant, "dev")
    assert "extra_pretraining" in record.flags
    assert record.features.endswith(" + descriptions")
    assert record.recipe["descriptions"] == f"descriptions_{source}"
    assert set(record.first_steps) == set(find_method(host).method.phases)  # every phase has run
    assert record.history[-1].loss == record.history[-1].loss
    assert record.skipped_steps == 0


@pytest.mark.parametrize("variant", ["gpo-dagger", "hrem-dagger"])
def test_coco_trains_with_its_own_recipe(variant, tmp_path, tiny_bert, accelerator, quiet):
    write_coco(tmp_path / "data", vectors=32)
    (record,) = run(options(tmp_path, variant, "coco", **{"text.bert": str(tiny_bert)}), [0], accelerator, quiet)
    assert set(record.metrics) == {"coco-1k", "coco-5k"}
    assert record.recipe["cutoff"] == 1.9
    assert str(tmp_path) not in json.dumps(record.model_dump(mode="json"))


def test_released_prototypes_serve_a_run_and_leave_no_path_in_its_record(f30k, tmp_path, accelerator, quiet):
    np.save(tmp_path / "centroids.npy", np.random.default_rng(0).random((8, 32)).astype(np.float32))
    job = options(tmp_path, "gpo-star", **{"text.bert": None, "prototypes_file": str(tmp_path / "centroids.npy")})
    (record,) = run(job, [0], accelerator, quiet)
    assert record.recipe["prototypes_file"] == record.overrides["prototypes_file"] == "centroids.npy"
    assert str(tmp_path) not in json.dumps(record.model_dump(mode="json"))


def test_scores_of_vectors_alone_train_nothing(f30k, tmp_path, accelerator, quiet):
    """bge only: description vector · caption vector."""
    (record,) = run(options(tmp_path, "gpo-star", scores="vectors"), [0, 1], accelerator, quiet)
    assert (record.selection, record.seed, record.steps) == ("none", None, 0)
    assert record.features == "descriptions"
    descriptions, captions = np.load(f30k / "test_aux_cap_bge_flor_det.npy")[::5], np.load(f30k / "test_cap_bge.npy")
    best = np.sort(descriptions @ captions.T, axis=1)[:, ::-1][:, :10]
    np.testing.assert_allclose(
        read_details(record, tmp_path / "results" / "local")["f30k-1k"].i2t_scores, best, atol=1e-6
    )


def test_without_dev_vectors_the_last_epoch_is_offered(f30k, tmp_path, accelerator, quiet):
    (f30k / "dev_aux_cap_bge_flor_det.npy").unlink()
    job = options(tmp_path, "gpo-star", **{"text.bert": None})
    with pytest.raises(DataError, match=r"dev_aux_cap_bge_flor_det.npy .*is missing.*train.select=last"):
        run(job, [0], accelerator, quiet)
    job = options(tmp_path, "gpo-star", **{"text.bert": None, "train.select": "last"})
    (record,) = run(job, [0], accelerator, quiet)
    assert record.selection == "last"


def test_vectors_of_another_width_stop_a_run_at_once(f30k, tmp_path, accelerator, quiet):
    job = options(tmp_path, "gpo-star", **{"text.bert": None, "host.embed_size": 48})
    with pytest.raises(MethodError, match=r"vectors have 32 numbers, the host's embeddings 48.*host.embed_size=32"):
        run(job, [0], accelerator, quiet)
    np.save(f30k / "train_cap_bge.npy", np.zeros((60, 8), np.float32))
    with pytest.raises(MethodError, match=r"differ in width \(descriptions_star of 32, caption_vectors of 8\)"):
        run(options(tmp_path, "gpo-star", **{"text.bert": None}), [0], accelerator, quiet)


def test_a_users_method_is_a_host(f30k, tmp_path, accelerator, quiet):
    (tmp_path / "simple.py").write_text(SIMPLE)
    job = options(tmp_path, "simple-star", method=f"vsd:{tmp_path / 'simple.py'}")
    (record,) = run(job, [0], accelerator, quiet)
    assert (record.method, record.variant) == ("vsd", "simple-star")
    assert record.recipe["host"] == {"width": 32}
    assert record.history[-1].loss < record.history[0].loss
    (best,) = (tmp_path / "runs").glob("*/best.safetensors")
    plain = RunOptions(job.method, "f30k", tmp_path / "data", output=tmp_path)
    assert evaluate_checkpoint(plain, best, accelerator, quiet) == record.metrics
    with pytest.raises(RunError, match="trained with variant simple-star: name its host behind a colon"):
        evaluate_checkpoint(replace(plain, method="vsd"), best, accelerator, quiet)


def test_a_users_method_trains_on_demo_with_vsd(tmp_path, accelerator, quiet):
    (tmp_path / "simple.py").write_text(SIMPLE)
    overrides = {"host.width": 128, "train.epochs": 2, "prototypes": 8}
    method = f"vsd:{tmp_path / 'simple.py'}"
    job = RunOptions(method, "demo", None, None, overrides, limit=60, output=tmp_path)
    (record,) = run(job, [0], accelerator, quiet)
    assert record.variant == "simple-dagger"
    assert "simulated_inputs" in record.flags
    assert record.history[1].loss < record.history[0].loss


def test_clip_is_refused_where_there_are_no_clip_vectors(f30k, tmp_path, accelerator, quiet):
    for path in f30k.glob("*_clip_*"):
        path.unlink()
    with pytest.raises(DataError, match="CLIP vectors of the pictures"):
        run(options(tmp_path, "clip-star"), [0], accelerator, quiet)


def test_a_run_resumed_in_the_graph_phase_ends_with_the_same_bits(f30k, tmp_path, accelerator, quiet, monkeypatch):
    def job(where):
        values = {**QUICK, **SMALL["hrem-dagger"], "text.bert": None, "text.word_dim": 16, "host.heads": 4}
        return RunOptions("vsd", "f30k", tmp_path / "data", "hrem-dagger", values, output=tmp_path / where)

    (whole,) = run(job("whole"), [0], accelerator, quiet)
    for stop_at in (7, 6):  # each from where the last one stopped: all within the graph phase, which begins at step 5
        checks = iter(range(stop_at + 1))
        look = engine.StopRequest.raise_if_asked

        def counted(self, checks=checks, stop_at=stop_at, look=look):
            if next(checks, None) == stop_at - 1:
                signal.raise_signal(signal.SIGINT)
            look(self)

        monkeypatch.setattr(engine.StopRequest, "raise_if_asked", counted)
        with pytest.raises(Interrupted):
            run(job("parts"), [0], accelerator, quiet)
        monkeypatch.undo()
    (resumed,) = run(job("parts"), [0], accelerator, quiet)
    assert "goes on at epoch" in quiet.file.getvalue()
    assert resumed.first_steps["graph"] == 5
    assert (resumed.metrics, resumed.history) == (whole.metrics, whole.history)
    same = [
        read_details(r, tmp_path / w / "results" / "local")["f30k-1k"]
        for r, w in ((whole, "whole"), (resumed, "parts"))
    ]
    assert same[0].i2t_scores.tobytes() == same[1].i2t_scores.tobytes()


@pytest.mark.parametrize("variant", ["gpo-star", "hrem-star"])
def test_our_own_checkpoint_scores_as_its_record_says(variant, f30k, tmp_path, accelerator, quiet):
    job = options(tmp_path, variant, **{"text.bert": None, "train.epochs": 1})
    (record,) = run(job, [0], accelerator, quiet)
    (best,) = (tmp_path / "runs").glob("*/best.safetensors")
    plain = RunOptions("vsd", "f30k", tmp_path / "data", output=tmp_path / "elsewhere")  # the file names its variant
    assert evaluate_checkpoint(plain, best, accelerator, quiet) == record.metrics


@pytest.mark.parametrize(("variant", "case"), [("gpo-dagger", "gpo-bert"), ("hrem-star", "hrem-bert")])
def test_an_official_checkpoint_is_scored_and_filed(
    variant, case, tmp_path, tiny_bert, accelerator, quiet, monkeypatch
):
    """24 numbers per region, vectors of 32; its BERT has two heads, which leave no trace in a checkpoint."""
    monkeypatch.setattr(official, "HEAD_SIZE", 24)
    write_f30k(tmp_path / "data", dim=24, vectors=32)
    values = {"text.bert": str(tiny_bert)}
    job = RunOptions("vsd", "f30k", tmp_path / "data", variant, values, output=tmp_path)
    metrics = evaluate_checkpoint(job, CASES / case / "checkpoint.pth", accelerator, quiet)
    (record,) = read_records(tmp_path / "results" / "local")
    assert (record.method, record.variant, record.selection) == ("vsd", variant, "last")
    assert {"imported", "extra_pretraining"} <= set(record.flags)
    assert record.metrics == metrics
    assert record.recipe["host"]["embed_size"] == record.recipe["vector_dim"] == 32
    assert record.recipe["pair_loss"] == ("trip" if variant == "gpo-dagger" else "host")
    write_f30k(tmp_path / "data", dim=24, vectors=16)
    with pytest.raises(MethodError, match="sentence vectors have 16 numbers, the host's embeddings 32"):
        evaluate_checkpoint(job, CASES / case / "checkpoint.pth", accelerator, quiet)


@pytest.mark.parametrize("settings", [{}, {"scores": "vectors"}])
def test_the_expected_memory_is_known_without_looking_for_prototypes(settings, f30k, tmp_path, monkeypatch):
    monkeypatch.setattr("itm_harness.methods.vsd.kmeans", None)
    memory = expected_memory(Job(options(tmp_path, "gpo-star", **{"text.bert": None, **settings})))
    assert memory["test similarities"] == 4 * 12 * 60
    assert ("weights" in memory) == bool(settings)
