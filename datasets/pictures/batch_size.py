"""How many items go through a model at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from itm_harness.datasets.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")
# cuBLAS and cuDNN take memory of their own, and say only in words that there was none
NO_MEMORY = re.compile(r"out of memory|CU\w+_STATUS_(NOT_INITIALIZED|\w*ALLOC\w*)")


@dataclass
class BatchSize:
    """On the CPU always `cpu`: a matrix product's last bits depend on its size, and files made there are reproducible.

    On a GPU `asked`, or, where that is None, `gpu` and half of it as often as memory does not suffice; what fits is
    kept for the items that follow.
    """

    cpu: int
    gpu: int
    asked: int | None = None
    _fits: int | None = field(default=None, init=False, compare=False)

    def size(self, device: torch.device) -> int:
        """Items at a time, as long as memory suffices."""
        return self.cpu if device.type == "cpu" else self.asked or self.gpu

    def over(
        self, items: Sequence[Item], device: torch.device, compute: Callable[[Sequence[Item]], Result]
    ) -> Iterator[tuple[Sequence[Item], Result]]:
        """Each batch, in order, with what `compute` makes of it. Raises DataError where an asked size does not fit."""
        start = 0
        while start < len(items):
            size = self._fits or self.size(device)
            batch = items[start : start + size]
            try:
                result = compute(batch)
            except RuntimeError as error:
                if device.type == "cpu" or not is_out_of_memory(error):
                    raise
                self._fits = self._smaller(len(batch), error)
            else:
                yield batch, result
                start += len(batch)
                continue
            torch.cuda.empty_cache()  # here nothing of the failed batch is held any more

    def _smaller(self, size: int, error: RuntimeError) -> int:
        if self.asked or size == 1:
            raise DataError(
                f"the GPU's memory does not hold {size} at once; use a smaller --batch-size or another GPU."
            ) from error
        return size // 2


def is_out_of_memory(error: RuntimeError) -> bool:
    """Did a GPU's memory not suffice?"""
    return isinstance(error, torch.cuda.OutOfMemoryError) or bool(NO_MEMORY.search(str(error)))
