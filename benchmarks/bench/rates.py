"""What a device can do: the rate of a large matrix product, and of a copy, measured in the same process."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

MATRIX = {"cuda": 8192, "cpu": 1536}  # rows of the square matrices
COPIED = {"cuda": 1 << 30, "cpu": 128 << 20}  # bytes: several times the caches
REPEATS = 5


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(work: Callable[[], object], device: torch.device, repeats: int = REPEATS) -> float:
    """Median time of `work`, after a first time that is not counted."""
    seconds = []
    for _ in range(repeats + 1):
        synchronise(device)
        began = time.perf_counter()
        work()
        synchronise(device)
        seconds.append(time.perf_counter() - began)
    return sorted(seconds[1:])[repeats // 2]


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of a matrix product of random numbers."""
    n = MATRIX.get(device.type, MATRIX["cpu"])
    left, right = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / median_seconds(lambda: left @ right, device)


def copy_rate(device: torch.device) -> float:
    """Bytes per second of a copy within the device's memory, those read and those written."""
    source = torch.randint(255, (COPIED.get(device.type, COPIED["cpu"]),), device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * source.numel() / median_seconds(lambda: target.copy_(source), device)
