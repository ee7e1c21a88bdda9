"""Devices by the names that users give."""

from __future__ import annotations

import torch

from itm_harness.benchmarks.common.errors import RunError


def device_there(name: str | None) -> str | None:
    """A device that is there; None: the default. Raises RunError where there is none of that name."""
    if name is None or name == "cpu":
        return name
    kind, _, index = name.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal():
        raise RunError(f"--device {name} is not known; use cpu, cuda or cuda:N.")
    if int(index or 0) >= torch.cuda.device_count():
        raise RunError(f"--device {name}: there is no such CUDA device here; use --device cpu.")
    return name
