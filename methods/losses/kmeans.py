"""K-means over vectors on disk: read in chunks, the same centroids from the same rows and seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from itm_harness.methods.errors import MethodError

SEED = 0  # prototypes belong to the data: runs with other seeds share them
ITERATIONS = 50  # at most
SMALLEST_GAIN = 1e-4  # relative decrease of the squared distances below which it ends
CHUNK = 8192  # rows read at once
CANDIDATES = 5  # sampled rows per first centroid

Prepare = Callable[[Tensor], Tensor]


def unchanged(rows: Tensor) -> Tensor:
    """Rows as they are stored."""
    return rows


class Rows:
    """The rows of an array, (n, D), as float32 on a device; `prepare` is applied to what is read."""

    def __init__(self, array: np.ndarray, prepare: Prepare, device: torch.device | str) -> None:
        self.array, self.prepare, self.device = array, prepare, device

    def __len__(self) -> int:
        return len(self.array)

    def take(self, where: np.ndarray | slice) -> Tensor:
        """(m, d) rows."""
        return self.prepare(torch.from_numpy(np.array(self.array[where], np.float32)).to(self.device))

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """All rows in order."""
        for start in range(0, len(self), CHUNK):
            where = slice(start, start + CHUNK)
            yield where, self.take(where)


@torch.no_grad()
def kmeans(
    array: np.ndarray,
    k: int,
    prepare: Prepare = unchanged,
    device: torch.device | str = "cpu",
    seed: int = SEED,
    iterations: int = ITERATIONS,
) -> Tensor:
    """The centroids of Lloyd's algorithm, (k, d) float32 on the CPU; k-means++ chooses the first ones.

    array: (n, D), may be memory-mapped. prepare: what is done to rows before they are clustered. A cluster that loses
    all its rows starts anew at the row farthest from its centroid. Raises MethodError where there are fewer than k
    distinct rows.
    """
    require_distinct(array, k)
    rows = Rows(array, prepare, device)
    centroids = first_centroids(rows, k, torch.Generator().manual_seed(seed))
    before = torch.inf
    for _ in range(iterations):
        means, counts, distances = _means_of_nearest(rows, centroids)
        filled = means[counts > 0]
        centroids = add_farthest(rows, filled, k - len(filled), distances)
        spent = float(distances.double().sum())
        if len(filled) == k and spent >= before * (1 - SMALLEST_GAIN):
            break
        before = spent
    return centroids.cpu()


def require_distinct(array: np.ndarray, k: int) -> None:
    """Raises MethodError where fewer than k rows differ from each other."""
    distinct: set[bytes] = set()
    for start in range(0, len(array), CHUNK):
        distinct.update(row.tobytes() for row in array[start : start + CHUNK])
        if len(distinct) >= k:
            return
    raise MethodError(
        f"prototypes={k}, but the training split holds only {len(distinct):,} different descriptions; "
        f"choose at most as many prototypes."
    )


def first_centroids(rows: Rows, k: int, generator: torch.Generator) -> Tensor:
    """k-means++ (Arthur and Vassilvitskii, SODA 2007) on a sample of the rows: (k, d).

    Each next one is drawn with probability proportional to the squared distance to the nearest so far.
    """
    sampled = torch.randperm(len(rows), generator=generator)[: CANDIDATES * k].sort().values
    sample = rows.take(sampled.numpy())
    chosen = [int(torch.randint(len(sample), (1,), generator=generator))]
    distances = squared_distances(sample, sample[chosen[-1]])
    while len(chosen) < k and distances.any():
        chosen.append(int(torch.multinomial(distances.cpu(), 1, generator=generator)))
        distances = torch.minimum(distances, squared_distances(sample, sample[chosen[-1]]))
    centroids = sample[chosen]
    if len(chosen) < k:  # the sample holds too few different rows
        centroids = add_farthest(rows, centroids, k - len(chosen), _means_of_nearest(rows, centroids)[2])
    return centroids


def add_farthest(rows: Rows, centroids: Tensor, count: int, distances: Tensor) -> Tensor:
    """`centroids` and behind them `count` rows, each the farthest from all before it. distances: (n,), squared."""
    for _ in range(count):
        farthest = rows.take(slice(int(distances.argmax()), int(distances.argmax()) + 1))  # (1, d)
        centroids = torch.cat([centroids, farthest])
        new = torch.cat([squared_distances(chunk, farthest[0]).cpu() for _, chunk in rows.chunks()])
        distances = torch.minimum(distances, new)
    return centroids


def squared_distances(rows: Tensor, point: Tensor) -> Tensor:
    """(n, d), (d,) -> (n,), exactly 0 for equal rows."""
    return (rows - point).square().sum(dim=1)


def _means_of_nearest(rows: Rows, centroids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean of the rows nearest to each centroid (k, d), their count (k,), squared distance of every row (n,).

    Sums are taken on the CPU, in the order of the rows: on a GPU their order would change from run to run.
    """
    k, d = centroids.shape
    sums, counts, distances = torch.zeros(k, d, dtype=torch.float64), torch.zeros(k), []
    lengths = centroids.square().sum(dim=1)
    for _, chunk in rows.chunks():
        closeness, label = (2 * chunk @ centroids.T - lengths).max(dim=1)  # (n,): |x|² − |x − c|² is largest
        distances.append((chunk.square().sum(dim=1) - closeness).clamp(min=0).cpu())
        sums.index_add_(0, label.cpu(), chunk.cpu().double())
        counts += torch.bincount(label.cpu(), minlength=k)
    means = (sums / counts.clamp(min=1)[:, None]).float().to(centroids.device)
    return means, counts.to(centroids.device), torch.cat(distances)
