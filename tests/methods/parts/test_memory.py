"""Chunks by free memory: never none, never more than there is, never more than asked for."""

import pytest
import torch

from itm_harness.methods.parts import memory
from itm_harness.methods.parts.memory import chunk_size, free_bytes

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("free", "at_most", "size"),
    [
        (4000, 10_000, 10),  # a quarter of the free bytes holds ten items
        (4000, 500, 5),  # the limit is smaller
        (100, 10_000, 1),  # not even one fits: one all the same
        (10**9, 10**9, 12),  # all of them
    ],
)
def test_chunk_size(monkeypatch, free, at_most, size):
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)
    assert chunk_size(100, 12, CPU, at_most) == size


def test_a_gpu_is_not_asked_about_a_small_part_of_its_memory(monkeypatch):
    asked = []
    monkeypatch.setattr(memory, "free_bytes", lambda device: asked.append(device) or 4000)
    monkeypatch.setattr(memory, "device_bytes", lambda device: 32 * 1200)
    assert chunk_size(100, 12, CPU, 10_000) == 12
    assert chunk_size(100, 12, CPU, 500) == 5  # the limit holds
    assert asked == []
    assert chunk_size(100, 13, CPU, 10_000) == 10
    assert asked == [CPU]


def test_free_memory_is_a_plausible_number_of_bytes():
    assert 2**20 < free_bytes(CPU) < 2**46
