"""The one protocol: similarity matrix → ranks → recalls. Exact, in chunks, on CPU or GPU.

A rank counts strictly better items plus ties, so a tie never helps: a constant scorer ranks last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from itm_harness.benchmarks.common.errors import NotFiniteError, RunError
from itm_harness.benchmarks.records.schema import Direction

# Similarities compared at once: on a CPU their flags stay in the cache (16 MB), on a GPU few launches are enough.
CHUNK_ELEMENTS = {"cpu": 4_000_000, "cuda": 256_000_000}
# What flags are: a GPU adds halves up in float32 as they are, but copies bools to int64 first, 8 bytes each.
FLAGS = {"cpu": torch.float32, "cuda": torch.float16}
TOP = 10
TOP_ROWS, TOP_ELEMENTS = 1024, 64_000_000  # searched at once on a CPU, and on a GPU, where few launches are enough


@dataclass(frozen=True)
class Ranks:
    """Worst-case ranks, 0 = first. i2t: (n_images,) rank of the best own caption; t2i: (n_texts,) rank of the image.

    *_ties: how many wrong items tie with the right one; rank − ties is the rank under the kindest order.
    """

    i2t: Tensor
    t2i: Tensor
    i2t_ties: Tensor
    t2i_ties: Tensor


@dataclass(frozen=True)
class Evaluation:
    """Both directions, averaged over folds, with the ranks within the folds (whole gallery = one fold)."""

    i2t: Direction
    t2i: Direction
    folds: tuple[tuple[Direction, Direction], ...]
    ranks: Ranks

    @property
    def rsum(self) -> float:
        """Sum of the six recalls."""
        return self.i2t.total + self.t2i.total


def rank_matrix(similarity: Tensor, image_of_text: Tensor, chunk: int | None = None) -> Ranks:
    """Ranks of a similarity matrix.

    similarity: (n_images, n_texts) float. image_of_text: (n_texts,) int64, the row that each caption belongs to.
    chunk: rows at a time, None = by size. Raises RunError where a value is not finite or an image has no caption.
    """
    n_images, n_texts = similarity.shape
    image_of_text = image_of_text.to(similarity.device)
    require_captions(image_of_text, n_images, n_texts)
    own = similarity[image_of_text, torch.arange(n_texts, device=similarity.device)]  # (n_texts,)
    best = own.new_full((n_images,), -torch.inf).scatter_reduce(0, image_of_text, own, "amax")  # (n_images,)
    own_tied = count_by_image(own >= best[image_of_text], image_of_text, n_images)  # own captions at the best score

    i2t, i2t_better = (torch.empty(n_images, dtype=torch.int64, device=similarity.device) for _ in range(2))
    t2i, t2i_better = (torch.zeros(n_texts, dtype=torch.int64, device=similarity.device) for _ in range(2))
    chunk = chunk or max(1, CHUNK_ELEMENTS.get(similarity.device.type, CHUNK_ELEMENTS["cpu"]) // n_texts)
    dtype = FLAGS.get(similarity.device.type, torch.float32)
    flags = torch.empty(min(chunk, n_images), n_texts, dtype=dtype, device=similarity.device)
    for start in range(0, n_images, chunk):
        rows = slice(start, start + chunk)
        part = similarity[rows]
        require_finite(part, start)
        i2t[rows] = count_passing(torch.ge, part, best[rows, None], flags, dim=1)
        i2t_better[rows] = count_passing(torch.gt, part, best[rows, None], flags, dim=1)
        t2i += count_passing(torch.ge, part, own, flags, dim=0)
        t2i_better += count_passing(torch.gt, part, own, flags, dim=0)
    i2t -= own_tied
    t2i -= 1
    return Ranks(i2t.cpu(), t2i.cpu(), (i2t - i2t_better).cpu(), (t2i - t2i_better).cpu())


def count_passing(compare: Callable[..., Tensor], part: Tensor, bound: Tensor, flags: Tensor, dim: int) -> Tensor:
    """How often `part` passes `bound` along `dim`. Sums of 0.0 and 1.0 are exact below 2²⁴, and 7 times faster."""
    return compare(part, bound, out=flags[: len(part)]).sum(dim, dtype=torch.float32).long()


def require_captions(image_of_text: Tensor, n_images: int, n_texts: int) -> None:
    """Raises RunError where the captions are not n_texts, or an image has none."""
    if len(image_of_text) != n_texts:
        raise RunError(
            f"similarity matrix has {n_texts} columns but there are {len(image_of_text)} captions; "
            f"rows are images and columns captions, both in file order."
        )
    counts = torch.bincount(image_of_text, minlength=n_images)
    if len(counts) != n_images or (counts == 0).any():
        described = int((counts > 0).sum())
        raise RunError(f"similarity matrix has {n_images} rows but the captions belong to {described} images.")


def require_finite(part: Tensor, first_row: int) -> None:
    """Raises NotFiniteError, with the row, where similarities are not finite. part: the matrix from `first_row` on."""
    low, high = torch.aminmax(part)  # one pass; NaN wins in both
    if not (torch.isfinite(low) and torch.isfinite(high)):
        row = int((~torch.isfinite(part)).any(dim=1).nonzero()[0])
        raise NotFiniteError(
            f"similarity matrix holds NaN or inf in row {first_row + row}; such a model cannot be ranked."
        )


def count_by_image(flags: Tensor, image_of_text: Tensor, n_images: int) -> Tensor:
    """(n_images,) int64: how many captions of each image are flagged. flags: (n_texts,) bool."""
    return torch.zeros(n_images, dtype=torch.int64, device=flags.device).index_add_(0, image_of_text, flags.long())


def direction_metrics(ranks: Tensor, ties: Tensor | None = None) -> Direction:
    """Recalls in percent, median and mean rank. ranks: (Q,) int64, 0 = first. ties: (Q,), counted where positive."""
    below = [100.0 * int((ranks < k).sum()) / len(ranks) for k in (1, 5, 10)]
    median = float(torch.quantile(ranks.double(), 0.5).floor()) + 1
    tied = 0 if ties is None else int((ties > 0).sum())
    mean = float(ranks.double().mean()) + 1
    return Direction(r1=below[0], r5=below[1], r10=below[2], median=median, mean=mean, ties=tied)


def evaluate_matrix(similarity: Tensor, image_of_text: Tensor, folds: int = 1) -> Evaluation:
    """Metrics of a similarity matrix, averaged over `folds` consecutive equal folds of its images.

    Within a fold, only the fold's own images and captions compete. Raises RunError where images do not divide evenly.
    """
    require_folds(len(similarity), folds)
    starts = _starts(len(similarity), folds)
    parts = [_fold(similarity, image_of_text, start, len(similarity) // folds) for start in starts]
    return evaluation_of(_join(parts, image_of_text, folds), image_of_text, folds)


def evaluation_of(ranks: Ranks, image_of_text: Tensor, folds: int = 1) -> Evaluation:
    """Metrics of ranks within folds, averaged over the folds."""
    size = len(ranks.i2t) // folds
    pairs = []
    for start in _starts(len(ranks.i2t), folds):
        rows, columns = slice(start, start + size), _columns(image_of_text, start, size)
        i2t = direction_metrics(ranks.i2t[rows], ranks.i2t_ties[rows])
        pairs.append((i2t, direction_metrics(ranks.t2i[columns], ranks.t2i_ties[columns])))
    return Evaluation(_mean([i2t for i2t, _ in pairs]), _mean([t2i for _, t2i in pairs]), tuple(pairs), ranks)


def require_folds(n_images: int, folds: int) -> None:
    """Raises RunError where images do not divide into folds."""
    if n_images % folds:
        raise RunError(f"{n_images} images do not divide into {folds} equal folds.")


def _starts(n_images: int, folds: int) -> range:
    return range(0, n_images, n_images // folds)


def _fold(similarity: Tensor, image_of_text: Tensor, start: int, size: int) -> Ranks:
    columns = _columns(image_of_text, start, size)
    block = similarity[start : start + size]
    contiguous = int(columns[-1]) - int(columns[0]) + 1 == len(columns)
    block = block[:, int(columns[0]) : int(columns[-1]) + 1] if contiguous else block[:, columns.to(block.device)]
    return rank_matrix(block, image_of_text[columns] - start)


def _columns(image_of_text: Tensor, start: int, size: int) -> Tensor:
    return ((image_of_text >= start) & (image_of_text < start + size)).nonzero()[:, 0]


def _join(parts: Sequence[Ranks], image_of_text: Tensor, folds: int) -> Ranks:
    """Ranks within the folds, back in file order."""
    n_images = sum(len(p.i2t) for p in parts)
    columns = torch.cat([_columns(image_of_text, s, n_images // folds) for s in _starts(n_images, folds)])
    order = columns.argsort()
    return Ranks(
        torch.cat([p.i2t for p in parts]),
        torch.cat([p.t2i for p in parts])[order],
        torch.cat([p.i2t_ties for p in parts]),
        torch.cat([p.t2i_ties for p in parts])[order],
    )


def _mean(rows: Sequence[Direction]) -> Direction:
    means = {name: sum(getattr(r, name) for r in rows) / len(rows) for name in ("r1", "r5", "r10", "median", "mean")}
    return Direction(**means, ties=sum(r.ties for r in rows))


def ensemble(matrices: Sequence[Tensor]) -> Tensor:
    """Mean of several similarity matrices of one gallery, (n_images, n_texts) float32."""
    if len({m.shape for m in matrices}) != 1:
        raise RunError(f"an ensemble needs matrices of one shape, not {[tuple(m.shape) for m in matrices]}.")
    total = matrices[0].float().clone()
    for matrix in matrices[1:]:
        total += matrix
    return total / len(matrices)


def top_items(similarity: Tensor, k: int = TOP, chunk: int | None = None) -> tuple[Tensor, Tensor]:
    """The k best columns of each row: indices (n, k) int32 and scores (n, k) float32, best first.

    Among equal scores the earlier column comes first. chunk: rows at a time, None = for the device.
    """
    on_gpu = similarity.device.type == "cuda"
    chunk = chunk or (max(1, TOP_ELEMENTS // similarity.shape[1]) if on_gpu else TOP_ROWS)
    found = [best_columns(part, k) for part in similarity.split(chunk)]
    return torch.cat([f[1].int() for f in found]).cpu(), torch.cat([f[0].float() for f in found]).cpu()


def best_columns(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Scores and indices of the k best columns of each row, (n, k) each, best first, among equal ones the earlier."""
    n_columns = rows.shape[1]
    k = min(k, n_columns)
    scores, indices = rows.topk(min(k + 1, n_columns), dim=1)  # one more shows whether the last place is shared
    shared = (scores[:, -1] == scores[:, k - 1]) & (k < n_columns)
    scores, indices = scores[:, :k], indices[:, :k]
    indices, order = indices.sort(dim=1)
    scores, order = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    indices = indices.gather(1, order)
    if shared.any():
        indices[shared] = _earliest(rows[shared], scores[shared], indices[shared])
    return scores, indices


def _earliest(rows: Tensor, scores: Tensor, indices: Tensor) -> Tensor:
    """indices (n, k) of the best columns, those with the last score replaced by the earliest columns that have it."""
    last = scores[:, -1:]
    backwards = torch.arange(rows.shape[1], 0, -1, dtype=torch.int32, device=rows.device)  # larger = earlier
    equal = torch.where(rows == last, backwards, 0).topk(scores.shape[1], dim=1).indices
    place = torch.arange(scores.shape[1], device=rows.device) - (scores > last).sum(dim=1, keepdim=True)
    return torch.where(place < 0, indices, equal.gather(1, place.clamp(min=0)))
