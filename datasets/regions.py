"""Region features of a split: read from the mapped file batch by batch, or held whole in memory or on a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.arrays import Packed, first_non_finite, gather_regions

CHUNK = 256  # images that are read at once when a split is loaded


@dataclass(frozen=True)
class MappedRegions:
    """The memory-mapped file.

    array: (R, N, D). rows: (n_images,) int64, the row of each image. fault: image -> a sentence about numbers that are
    not finite. rounding: a shorter type that every number is rounded to, None = none.
    """

    array: np.ndarray
    rows: np.ndarray
    fault: Callable[[int], str]
    rounding: torch.dtype | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The shortest type that holds the numbers as they are gathered."""
        return self.rounding or torch.from_numpy(np.empty(0, self.array.dtype)).dtype

    def gather(self, images: np.ndarray, packed: Packed | None) -> tuple[Tensor, Tensor]:
        """Arguments and results as of `gather_regions`, of images by position; tensors.

        Raises DataError where not finite.
        """
        regions, lengths = gather_regions(self.array, self.rows[images], packed)
        bad = first_non_finite(regions)
        if bad is not None:
            raise DataError(self.fault(int(images[bad])))
        values = torch.from_numpy(regions)
        if self.rounding is not None:
            values = values.to(self.rounding).float()
        return values, torch.from_numpy(lengths)


@dataclass(frozen=True)
class HeldRegions:
    """All images of a split, values: (n_images, N, D), on the device where they are gathered and packed."""

    values: Tensor

    @classmethod
    def of(cls, source: MappedRegions, n_images: int, device: torch.device) -> HeldRegions:
        """Read the first n_images whole. Raises DataError where one is not finite.

        Not page-locked in host memory: batches are gathered from it by the processor, and these are.
        """
        shape = (n_images, *source.array.shape[1:])
        values = torch.empty(shape, dtype=source.dtype, device=device)
        for start in range(0, n_images, CHUNK):
            images = np.arange(start, min(start + CHUNK, n_images))
            values[start : start + CHUNK] = source.gather(images, None)[0]
        return cls(values)

    def gather(self, images: np.ndarray, packed: Packed | None) -> tuple[Tensor, Tensor]:
        """The same numbers as of `MappedRegions.gather`, on the device of the values."""
        device, count = self.values.device, self.values.shape[1]
        if packed is None:
            return self.values[sent(images, device)].float(), torch.full((len(images),), count, device=device)
        places = sent(images[:, None] * count + packed.order, device)
        regions = self.values.flatten(0, 1)[places].float()  # (B, L, D)
        regions.masked_fill_(sent(packed.padding, device)[:, :, None], 0)
        return regions, sent(packed.lengths, device)


def sent(values: np.ndarray, device: torch.device) -> Tensor:
    """values on `device`, without waiting for what the device is doing."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
