"""Ranks and best items of galleries whose similarity matrix would not fit: from blocks of scores, none of them kept.

The results are those of the whole matrix: the same ranks, ties counted against the query, the same best items. Scores
of the right pairs come first, from the blocks that hold them; then every block is counted against them. Memory is that
of a block and of a few numbers per image and caption; the cost of a pair does not depend on how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from itm_harness.benchmarks.protocol.pair_scores import Block, Places, Streamed
from itm_harness.benchmarks.protocol.ranks import (
    TOP,
    Evaluation,
    Ranks,
    best_columns,
    count_by_image,
    count_passing,
    evaluation_of,
    require_captions,
    require_finite,
    require_folds,
)


@dataclass(frozen=True)
class Ranking:
    """What a record holds of one way to cut a gallery into folds. *_top, *_scores: (n, k), best first, None for k 0."""

    evaluation: Evaluation
    i2t_top: Tensor | None
    i2t_scores: Tensor | None
    t2i_top: Tensor | None
    t2i_scores: Tensor | None


def rank_stream(
    similarities: Streamed, image_of_text: Tensor, folds: Sequence[int] = (1,), k: int = TOP
) -> list[Ranking]:
    """A ranking for each number of folds, in one pass over all pairs.

    image_of_text: (n_texts,) int64. k: how many best items of each query. Raises RunError where a score is not finite,
    an image has no caption, or images do not divide evenly.
    """
    n_images, n_texts = similarities.shape
    require_captions(image_of_text, n_images, n_texts)
    for count in folds:
        require_folds(n_images, count)
    owner = image_of_text.to(similarities.device)
    own = _own_scores(similarities, owner)
    counters = [_FoldRanks(own, owner, n_images, count, k) for count in folds]
    for block in similarities.blocks():
        require_finite(block.scores, block.rows.start)
        for counter in counters:
            counter.add(block)
    return [counter.ranking(image_of_text) for counter in counters]


def best_items(similarities: Streamed, k: int) -> tuple[Tensor, Tensor]:
    """The k best captions of each image and the k best images of each caption, best first, as int32 on the CPU."""
    n_images, n_texts = similarities.shape
    i2t, t2i = (_BestItems(n, min(k, m), similarities.device) for n, m in ((n_images, n_texts), (n_texts, n_images)))
    for rows, columns, scores in similarities.blocks():
        i2t.add(scores, rows, columns.start)
        t2i.add(scores.T, columns, rows.start)
    return i2t.items.cpu(), t2i.items.cpu()


def _own_scores(similarities: Streamed, owner: Tensor) -> Tensor:
    """(n_texts,) the score of each caption with its image, from the blocks of the matrix that hold such pairs."""
    own = torch.empty(len(owner), device=owner.device)
    for rows, columns, scores in similarities.blocks(_places(owner, *similarities.step)):
        inside = (owner[columns] >= rows.start) & (owner[columns] < rows.stop)
        texts = inside.nonzero()[:, 0]
        own[columns][texts] = scores[owner[columns][texts] - rows.start, texts]
    return own


def _places(owner: Tensor, height: int, width: int) -> Places:
    """(row, column) numbers of the blocks that hold a caption with its image."""
    columns = torch.arange(len(owner), device=owner.device) // width
    return {(row, column) for row, column in torch.stack([owner // height, columns], dim=1).unique(dim=0).tolist()}


class _FoldRanks:
    """Ranks within folds and best items, complete once every block was added, in the order of `Streamed.blocks`."""

    def __init__(self, own: Tensor, owner: Tensor, n_images: int, folds: int, k: int) -> None:
        self.own, self.owner, self.n_images, self.folds = own, owner, n_images, folds
        self.best = own.new_full((n_images,), -torch.inf).scatter_reduce(0, owner, own, "amax")
        self.i2t, self.i2t_better = (torch.zeros(n_images, dtype=torch.int64, device=own.device) for _ in range(2))
        self.t2i, self.t2i_better = (torch.zeros(len(own), dtype=torch.int64, device=own.device) for _ in range(2))
        self.i2t_top = _BestItems(n_images, min(k, len(own)), own.device)
        self.t2i_top = _BestItems(len(own), min(k, n_images), own.device)

    def add(self, block: Block) -> None:
        rows, columns, scores = block
        if self.folds > 1:
            scores = self._within_folds(block)
        flags, best, own = torch.empty_like(scores), self.best[rows, None], self.own[columns]
        self.i2t[rows] += count_passing(torch.ge, scores, best, flags, dim=1)
        self.i2t_better[rows] += count_passing(torch.gt, scores, best, flags, dim=1)
        self.t2i[columns] += count_passing(torch.ge, scores, own, flags, dim=0)
        self.t2i_better[columns] += count_passing(torch.gt, scores, own, flags, dim=0)
        self.i2t_top.add(scores, rows, columns.start)
        self.t2i_top.add(scores.T, columns, rows.start)

    def _within_folds(self, block: Block) -> Tensor:
        size = self.n_images // self.folds
        images = torch.arange(block.rows.start, block.rows.stop, device=self.own.device)
        return block.scores.masked_fill((images // size)[:, None] != self.owner[block.columns] // size, -torch.inf)

    def ranking(self, image_of_text: Tensor) -> Ranking:
        own_tied = count_by_image(self.own >= self.best[self.owner], self.owner, self.n_images)
        i2t, t2i = self.i2t - own_tied, self.t2i - 1
        ranks = Ranks(i2t.cpu(), t2i.cpu(), (i2t - self.i2t_better).cpu(), (t2i - self.t2i_better).cpu())
        evaluation = evaluation_of(ranks, image_of_text, self.folds)
        return Ranking(evaluation, *self.i2t_top.found(), *self.t2i_top.found())


class _BestItems:
    """The best items of each query so far. Items come in ascending order: among equal ones the earlier stays."""

    def __init__(self, queries: int, k: int, device: torch.device) -> None:
        self.k = k
        self.scores = torch.empty(queries, k, device=device)
        self.items = torch.empty(queries, k, dtype=torch.int32, device=device)

    def add(self, scores: Tensor, queries: slice, first: int) -> None:
        """scores: (n, m) of the queries with the items from `first` on."""
        if self.k == 0:
            return
        held = min(self.k, first)  # so many items each of these queries has by now
        numbers = torch.arange(queries.start, queries.stop, device=scores.device)
        if held == self.k:
            better = scores.amax(dim=1) > self.scores[queries, -1]
            scores, numbers = scores[better], numbers[better]
        new_scores, new_items = best_columns(scores, self.k)
        all_scores = torch.cat([self.scores[numbers, :held], new_scores], dim=1)
        all_items = torch.cat([self.items[numbers, :held], new_items.int() + first], dim=1)
        all_scores, order = all_scores.sort(dim=1, descending=True, stable=True)
        width = min(self.k, all_scores.shape[1])
        self.scores[numbers, :width] = all_scores[:, :width]
        self.items[numbers, :width] = all_items.gather(1, order[:, :width])

    def found(self) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Items and scores, (n, k) each, on the CPU."""
        return (self.items.cpu(), self.scores.cpu()) if self.k else (None, None)
