"""Prototypes as SwAV uses them: balanced soft assignments, and the loss of predicting the other modality's.

Caron et al., "Unsupervised learning of visual features by contrasting cluster assignments", NeurIPS 2020; in image-text
matching: AAHR (KBS 2025) and VSD (ICME 2025). All in float32, outside autocast.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from itm_harness.methods.defaults import SINKHORN_ITERATIONS
from itm_harness.methods.errors import MethodError


@torch.no_grad()
def sinkhorn(scores: Tensor, epsilon: float, iterations: int = SINKHORN_ITERATIONS) -> Tensor:
    """Assignments of samples to prototypes that use every prototype equally. scores: (B, K). Returns (B, K), rows sum
    to 1.

    Prototypes are brought to 1/K and samples to 1/B in turn (Sinkhorn–Knopp).
    """
    assignments = (scores / epsilon).exp()
    assignments = assignments / assignments.sum()
    n_samples, n_prototypes = scores.shape
    for _ in range(iterations):
        assignments = assignments / assignments.sum(dim=0, keepdim=True) / n_prototypes
        assignments = assignments / assignments.sum(dim=1, keepdim=True) / n_samples
    return assignments * n_samples


def swapped_prediction(
    image: Tensor,
    text: Tensor,
    prototypes: Tensor,
    epsilon: float,
    temperature: float,
    iterations: int = SINKHORN_ITERATIONS,
) -> Tensor:
    """Each modality predicts the other's assignments: a scalar, the sum of both directions' means over the batch.

    image, text: (B, d). prototypes: (K, d), of length 1.
    """
    image_scores, text_scores = image @ prototypes.T, text @ prototypes.T  # (B, K)
    return _cross_entropy(sinkhorn(text_scores, epsilon, iterations), image_scores / temperature) + _cross_entropy(
        sinkhorn(image_scores, epsilon, iterations), text_scores / temperature
    )


def _cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    return -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()


def read_prototypes(path: Path, count: int, width: int) -> Tensor:
    """(count, width) float32 centroids of a .npy file. Raises MethodError where it holds something else."""
    try:
        centroids = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise MethodError(f"prototypes_file {path} does not exist; give the path of a .npy file, or null.") from error
    except (OSError, ValueError, EOFError) as error:
        raise MethodError(f"prototypes_file {path} cannot be read as .npy ({error}); download it again.") from error
    if not isinstance(centroids, np.ndarray) or centroids.dtype.kind != "f" or centroids.ndim != 2:
        raise MethodError(f"prototypes_file {path} holds no matrix of floats with one prototype a row; give another.")
    if centroids.shape != (count, width):
        rows, columns = centroids.shape
        raise MethodError(
            f"prototypes_file {path} holds {rows} prototypes of {columns} numbers, the recipe has {count} of {width}; "
            f"set prototypes={rows}, or give the file of this data set and encoder."
        )
    if not np.isfinite(centroids).all():
        raise MethodError(f"prototypes_file {path} holds numbers that are not finite; download it again.")
    return torch.from_numpy(centroids.astype(np.float32))
