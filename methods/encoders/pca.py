"""Principal components: vectors brought to a smaller width, fitted on the training split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from itm_harness.methods.errors import MethodError
from itm_harness.methods.losses.kmeans import Rows, unchanged
from itm_harness.methods.parts.normalise import l2norm


class PCA(nn.Module):
    """Vectors of `width` numbers -> their first `kept` principal components, of length 1.

    Mean and components are buffers, so that they are stored with the model.
    """

    def __init__(self, width: int, kept: int) -> None:
        super().__init__()
        if kept > width:
            raise MethodError(
                f"vectors of {width} numbers cannot be reduced to {kept}; use an embedding that is no wider."
            )
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("components", torch.zeros(kept, width))

    @torch.no_grad()
    def fit(self, arrays: Sequence[np.ndarray]) -> None:
        """Mean and components of the rows of all arrays together, each (n, width), read in chunks.

        Raises MethodError where there are fewer rows than components.
        """
        count, total, products = self._moments(arrays)
        if count <= len(self.components):
            raise MethodError(
                f"{len(self.components)} principal components need more than {count} training vectors; "
                f"use a narrower embedding or more data."
            )
        mean = total / count
        _, vectors = torch.linalg.eigh(products / count - mean[:, None] * mean)  # ascending
        components = vectors.T.flip(0)[: len(self.components)]
        largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
        self.mean.copy_(mean)
        self.components.copy_(components * largest.sign())  # an eigenvector's sign is arbitrary: fixed here

    def _moments(self, arrays: Sequence[np.ndarray]) -> tuple[int, Tensor, Tensor]:
        """Number of rows, their sum (width,) and the sum of their outer products (width, width), in float64."""
        width = len(self.mean)
        total = torch.zeros(width, dtype=torch.float64, device=self.mean.device)
        products = torch.zeros(width, width, dtype=torch.float64, device=self.mean.device)
        for array in arrays:
            for _, chunk in Rows(array, unchanged, self.mean.device).chunks():
                rows = chunk.double()
                total += rows.sum(dim=0)
                products += rows.T @ rows
        return sum(map(len, arrays)), total, products

    def forward(self, vectors: Tensor) -> Tensor:
        """(n, width) -> (n, kept), in float32 also under autocast."""
        with torch.autocast(vectors.device.type, enabled=False):
            return l2norm((vectors.float() - self.mean) @ self.components.T)
