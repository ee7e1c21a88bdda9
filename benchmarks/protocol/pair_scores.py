"""Scores of a gallery's pairs, a block at a time, always cut at the same places: whole or streamed, the same bits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from itm_harness.benchmarks.protocol.ranks import ensemble
from itm_harness.methods.base import Method, Terms
from itm_harness.methods.parts.encoded import Encoded

IMAGE_CHUNK, TEXT_CHUNK = 512, 5000  # pairs scored at once, at most
ROW_ELEMENTS = 1 << 26  # scores of a term held at once where rows have to be complete: 256 MB

Tick = Callable[[], None]
Places = Collection[tuple[int, int]]


def no_tick() -> None:
    """Nobody waits to be asked."""


class Block(NamedTuple):
    """Scores of the images `rows` with the captions `columns`, (len(rows), len(columns)) float32."""

    rows: slice
    columns: slice
    scores: Tensor


class PairScores:
    """The similarities of a gallery, computed when they are asked for.

    shape: (n_images, n_texts). step: rows and columns of a block.
    """

    def __init__(self, method: Method, images: Encoded, texts: Encoded, device: torch.device, tick: Tick) -> None:
        """images, texts: on any device, or memory-mapped; blocks are scored on `device`. tick: called per block."""
        self.method, self.images, self.texts, self.device, self.tick = method, images, texts, device, tick
        self.shape = len(images), len(texts)
        self.step = IMAGE_CHUNK, TEXT_CHUNK
        if method.scope == "gallery":  # `combine` gets complete rows
            self.require_rows()

    def require_rows(self) -> None:
        """Cut blocks of complete rows from now on."""
        n_texts = self.shape[1]
        self.step = max(1, min(self.step[0], ROW_ELEMENTS // n_texts)), n_texts

    @torch.no_grad()
    def blocks(self, places: Places | None = None) -> Iterator[Block]:
        """Blocks row by row, from left to right. places: only those at these (row, column) numbers of the grid."""
        for row, rows in enumerate(_cuts(self.shape[0], self.step[0])):
            images = None
            for column, columns in enumerate(_cuts(self.shape[1], self.step[1])):
                if places is None or (row, column) in places:
                    images = self.images[rows].to(self.device) if images is None else images
                    yield Block(rows, columns, self._score(images, columns))

    def _score(self, images: Encoded, columns: slice) -> Tensor:
        parts = []
        for _, texts in self.texts[columns].chunks(TEXT_CHUNK):
            parts.append(self.method.score(images, texts.to(self.device)))
            self.tick()
        return self.method.combine(_joined(parts)).float()


def _joined(parts: list[Terms]) -> Terms:
    return parts[0] if len(parts) == 1 else {name: torch.cat([p[name] for p in parts], dim=1) for name in parts[0]}


class MeanScores:
    """The mean of several galleries' similarities, of the same images and captions: an ensemble."""

    def __init__(self, members: Sequence[PairScores]) -> None:
        """Raises ValueError where the members are of several shapes."""
        (self.shape,) = {member.shape for member in members}
        self.members = members
        if len({member.step for member in members}) > 1:
            for member in members:
                member.require_rows()
        self.step, self.device = members[0].step, members[0].device

    def blocks(self, places: Places | None = None) -> Iterator[Block]:
        """As of a member."""
        for first, *others in zip(*(member.blocks(places) for member in self.members), strict=True):
            total = first.scores.clone()
            for other in others:
                total += other.scores
            yield first._replace(scores=total / len(self.members))


class ConstantScores:
    """The similarities of a constant scorer, to which no query is right."""

    def __init__(self, like: PairScores | MeanScores) -> None:
        self.shape, self.step, self.device = like.shape, like.step, like.device

    def blocks(self, places: Places | None = None) -> Iterator[Block]:
        """Of zeros."""
        for row, rows in enumerate(_cuts(self.shape[0], self.step[0])):
            for column, columns in enumerate(_cuts(self.shape[1], self.step[1])):
                if places is None or (row, column) in places:
                    size = rows.stop - rows.start, columns.stop - columns.start
                    yield Block(rows, columns, torch.zeros(size, device=self.device))


def _cuts(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


Streamed = PairScores | MeanScores | ConstantScores


def constant_scores(like: Tensor | PairScores | MeanScores) -> Tensor | Streamed:
    """Similarities of a constant scorer for the same pairs, where those of a model rank nothing."""
    return torch.zeros_like(like) if isinstance(like, Tensor) else ConstantScores(like)


def mean_of(similarities: Sequence[Tensor | Streamed]) -> Tensor | Streamed:
    """The ensemble of similarities that are all matrices or all streamed."""
    if all(isinstance(similarity, Tensor) for similarity in similarities):
        return ensemble(cast("Sequence[Tensor]", similarities))
    return MeanScores(cast("Sequence[PairScores]", similarities))
