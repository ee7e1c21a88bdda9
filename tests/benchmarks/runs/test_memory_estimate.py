"""The memory that a training will need: only what is trained has gradients and optimiser state."""

import pytest

from itm_harness.benchmarks.protocol import evaluate
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.runs.memory_estimate import expected_memory
from itm_tests.trees import write_f30k

SMALL = {"text.bert": None, "clip": False, "embed_size": 32, "heads": 2, "train.batch_size": 8, "queue_length": 16}


@pytest.fixture
def job(tmp_path):
    write_f30k(tmp_path / "data")
    return Job(RunOptions("aahr", "f30k", tmp_path / "data", overrides=SMALL))


def test_frozen_parameters_have_neither_gradients_nor_moments(job):
    method = job.build(seed=0)
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in method.parameters() if not p.requires_grad)
    assert frozen > 0  # AAHR's momentum encoders
    expected = expected_memory(job)
    assert expected["weights, gradients, optimiser"] == 4 * (4 * trained + frozen)
    assert expected["the copy that is written as a checkpoint, in host memory"] == 4 * (3 * trained + frozen)


def test_activations_grow_with_the_batch(job, tmp_path):
    larger = Job(RunOptions("aahr", "f30k", tmp_path / "data", overrides={**SMALL, "train.batch_size": 32}))
    few, many = expected_memory(job), expected_memory(larger)
    assert many["activations of 32 pairs"] >= 4 * few["activations of 8 pairs"]
    assert many["a batch"] == 4 * few["a batch"]


def test_a_matrix_that_would_not_fit_is_not_counted(job, monkeypatch):
    assert expected_memory(job)["test similarities"] == 4 * 12 * 60
    monkeypatch.setattr(evaluate, "free_memory", lambda device: 0)
    streamed = expected_memory(job)
    assert "test similarities" not in streamed
    assert streamed["a block of the test similarities (together they would not fit)"] == 4 * 512 * 5000
