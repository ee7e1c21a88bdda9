"""--deterministic sets all that PyTorch asks for, and takes it back."""

import os

import pytest
import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.training.determinism import WORKSPACE, deterministic


def settings():
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
    )


@pytest.fixture
def usual(monkeypatch):
    monkeypatch.delenv(WORKSPACE, raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    return settings()


def test_it_sets_what_pytorch_asks_for_and_takes_it_back(usual):
    with deterministic(True):
        assert settings() == (True, True, False)
        assert os.environ[WORKSPACE] == ":4096:8"
    assert settings() == usual == (False, False, True)


def test_a_workspace_that_cublas_calls_reproducible_stays(usual, monkeypatch):
    for before, inside in ((":16:8", ":16:8"), (":0:0", ":4096:8")):
        monkeypatch.setenv(WORKSPACE, before)
        with deterministic(True):
            assert os.environ[WORKSPACE] == inside


def test_not_asked_for_it_changes_nothing(usual):
    with deterministic(False):
        assert settings() == usual
        assert WORKSPACE not in os.environ


def test_an_operation_without_such_a_kernel_is_a_sentence(usual):
    with (
        pytest.raises(RunError, match=r"--deterministic: put_ has no deterministic kernel.*run without"),
        deterministic(True),
    ):
        torch.zeros(4).put_(torch.tensor([0]), torch.ones(1))
    assert settings() == usual


def test_other_errors_stay_what_they_are(usual):
    with pytest.raises(RuntimeError, match="size of tensor"), deterministic(True):
        torch.zeros(4) + torch.zeros(3)
