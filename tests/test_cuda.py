"""On a GPU everything is as on the CPU: run with `pytest -m cuda` where there is one. CI has none."""

from __future__ import annotations

import pytest
import torch
from accelerate.state import AcceleratorState

from itm_harness.benchmarks.protocol.ranks import evaluate_matrix, top_items
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_harness.benchmarks.training.engine import make_accelerator
from itm_harness.methods.encoders.gru import mean_of_directions
from itm_harness.methods.encoders.text_encoders import BiGRUEncoder
from itm_tests.small_trainings import RUNS, STEPS, train
from itm_tests.trees import write_f30k

DEVICE = "cuda"
pytestmark = pytest.mark.cuda


def accelerator(device, precision="fp32"):
    """accelerate keeps one device and precision for a process, unless it is told to forget them."""
    AcceleratorState._reset_state(reset_partial_state=True)
    return make_accelerator(device, precision)


@pytest.fixture(autouse=True)
def forget():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_f30k(folder, images=17, vectors=16)
    return folder


@pytest.mark.parametrize("name", RUNS)
def test_trainings_are_those_of_the_cpu(root, tmp_path, name):
    on_cpu, on_gpu = (train(name, root, tmp_path / device, accelerator(device)) for device in ("cpu", DEVICE))
    assert len(on_gpu["losses"]) >= STEPS
    assert [terms["total"] for terms in on_gpu["losses"]] == pytest.approx(
        [terms["total"] for terms in on_cpu["losses"]], rel=1e-6
    )
    for key, values in on_cpu["encodings"].items():
        torch.testing.assert_close(on_gpu["encodings"][key], values, rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("features", ["device", "host", "map"])
def test_a_run_from_every_place_of_the_features(root, tmp_path, quiet, precision, features):
    """Where regions lie changes no number, so that one record is that of all."""
    overrides = {"text.bert": None, "embed_size": 32, "train.batch_size": 8, "train.epochs": 2}
    records = []
    for place in (features, "map"):
        options = RunOptions(
            "gpo", "f30k", root, overrides=overrides, precision=precision, output=tmp_path / place, features=place,
            fresh=True, deterministic=True,
        )  # fmt: skip
        records += run(options, [0], accelerator(DEVICE, precision), quiet)
    first, second = records
    assert [epoch.loss for epoch in first.history] == pytest.approx([e.loss for e in second.history], rel=1e-5)
    assert first.hardware.device != "CPU"


def test_ranks_and_best_items_are_those_of_the_cpu():
    similarity = torch.randint(0, 50, (300, 1500), generator=torch.Generator().manual_seed(0)).float()  # many ties
    owner = torch.arange(1500) // 5
    on_cpu, on_gpu = (evaluate_matrix(similarity.to(device), owner, folds=3) for device in ("cpu", DEVICE))
    assert on_gpu.folds == on_cpu.folds
    assert torch.equal(on_gpu.ranks.t2i, on_cpu.ranks.t2i)
    for found, wanted in zip(top_items(similarity.to(DEVICE)), top_items(similarity), strict=True):
        assert torch.equal(found, wanted)


def test_the_gru_is_float32_under_autocast():
    torch.manual_seed(0)
    encoder = BiGRUEncoder(vocabulary_size=12, word_dim=5, embed_size=6).to(DEVICE)
    words, lengths = torch.randint(1, 12, (4, 9), device=DEVICE), torch.tensor([9, 3, 5, 1], device=DEVICE)
    with torch.autocast(DEVICE, torch.bfloat16):
        states = mean_of_directions(encoder.rnn, encoder.embed.weight, words, lengths)
    assert states.dtype == torch.float32
    torch.testing.assert_close(states, mean_of_directions(encoder.rnn, encoder.embed.weight, words, lengths))
