"""`--deterministic`: the same command on the same GPU gives the same bits, at some cost of speed.

On the CPU a run is deterministic anyway.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from itm_harness.benchmarks.common.errors import RunError

WORKSPACE, WORKSPACES = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")  # those that cuBLAS calls reproducible
REFUSED = "does not have a deterministic implementation"


@contextmanager
def deterministic(asked: bool) -> Iterator[None]:
    """Only deterministic kernels while entered, if asked for. To be entered before anything runs on a GPU.

    Raises RunError where an operation has no such kernel.
    """
    if not asked:
        yield
        return
    if os.environ.get(WORKSPACE) not in WORKSPACES:
        os.environ[WORKSPACE] = WORKSPACES[0]
    before = torch.are_deterministic_algorithms_enabled(), _cudnn()
    torch.use_deterministic_algorithms(True)
    _set_cudnn(deterministic=True, benchmark=False)
    try:
        yield
    except RuntimeError as error:
        if REFUSED not in str(error):
            raise
        operation = str(error).split(REFUSED)[0].strip()
        raise RunError(
            f"--deterministic: {operation} has no deterministic kernel on this device; run without --deterministic, "
            f"or on the CPU (--device cpu)."
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        _set_cudnn(**before[1])


def _cudnn() -> dict[str, bool]:
    return {"deterministic": torch.backends.cudnn.deterministic, "benchmark": torch.backends.cudnn.benchmark}


def _set_cudnn(deterministic: bool, benchmark: bool) -> None:
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = benchmark  # would choose kernels by how fast they happen to be
