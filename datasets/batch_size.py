"""How many items go through a model at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from datasets.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class BatchSize:
    """On the CPU always `cpu`: a matrix product's last bits depend on its size, and files made there are reproducible.

    On a GPU `asked`, or, where that is None, `gpu` and half of it as often as memory does not suffice.
    """

    cpu: int
    gpu: int
    asked: int | None = None

    def over(
        self, items: Sequence[Item], device: torch.device, compute: Callable[[Sequence[Item]], Result]
    ) -> Iterator[tuple[Sequence[Item], Result]]:
        """Each batch, in order, with what `compute` makes of it. Raises DataError where an asked size does not fit."""
        size, start = self.cpu if device.type == "cpu" else self.asked or self.gpu, 0
        while start < len(items):
            batch = items[start : start + size]
            try:
                result = compute(batch)
            except torch.cuda.OutOfMemoryError as error:
                size = self._smaller(size, error)
                continue
            yield batch, result
            start += len(batch)

    def _smaller(self, size: int, error: torch.cuda.OutOfMemoryError) -> int:
        if self.asked or size == 1:
            raise DataError(
                f"the GPU's memory does not hold {size} at once; use a smaller --batch-size or another GPU."
            ) from error
        return size // 2
