"""Neighbour batch sampling (HREM, CVPR 2023): batches in which similar captions meet.

The paper names the idea and the released code lacks it; this realisation, a random walk over the graph of nearest
neighbours, is ours.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

CHUNK_BYTES = 256 * 2**20  # similarities held at once


def neighbour_order(text_embeddings: Tensor, seed: int, k: int = 10) -> Tensor:
    """Every caption once, in an order in which consecutive captions are neighbours wherever that is possible.

    text_embeddings: (n, d), on any device. The walk goes on to a random unvisited one of a caption's k nearest
    neighbours, or, where none is left, to a random unvisited caption. Returns (n,) int64 on the CPU; the same seed
    gives the same order.
    """
    return torch.from_numpy(_walk(nearest_neighbours(text_embeddings, k).numpy(), np.random.default_rng(seed)))


def nearest_neighbours(embeddings: Tensor, k: int) -> Tensor:
    """The k rows with the largest dot product for each row, itself left out: (n, min(k, n − 1)) int64 on the CPU.

    Computed for some rows at a time: the n × n matrix is never held (coco has 566,747 training captions).
    """
    n = len(embeddings)
    rows = max(1, CHUNK_BYTES // (4 * n))
    return torch.cat([_nearest_of_rows(embeddings, start, rows, min(k, n - 1)) for start in range(0, n, rows)])


def _nearest_of_rows(embeddings: Tensor, start: int, rows: int, k: int) -> Tensor:
    similarity = embeddings[start : start + rows] @ embeddings.T  # (rows, n)
    own = torch.arange(len(similarity), device=similarity.device)
    similarity[own, start + own] = -torch.inf
    return similarity.topk(k, dim=1).indices.cpu()


def _walk(neighbours: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A walk that visits each node once. neighbours: (n, k), any order."""
    n = len(neighbours)
    restarts = iter(random.permutation(n).tolist())
    steps = random.permuted(neighbours, axis=1).tolist()  # each node's neighbours in a random order
    visited = bytearray(n)
    order = []
    node = next(restarts, None)
    while node is not None:
        visited[node] = 1
        order.append(node)
        following = next((m for m in steps[node] if not visited[m]), None)
        node = next((m for m in restarts if not visited[m]), None) if following is None else following
    return np.array(order, dtype=np.int64)
