"""Encode a gallery and score it: a method and a split → the similarity matrix, or its blocks where it would not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from itm_harness.benchmarks.common.free_memory import free_memory
from itm_harness.benchmarks.protocol.encoding_files import mapped
from itm_harness.benchmarks.protocol.pair_scores import PairScores, Streamed, Tick, no_tick
from itm_harness.datasets.batch import ImageBatch, TextBatch
from itm_harness.datasets.loader import gallery_batches
from itm_harness.datasets.split import Split
from itm_harness.methods.base import Method
from itm_harness.methods.parts.encoded import Encoded

MATRIX_COPIES = 3  # of a similarity matrix at once, at most: itself, one with folds apart, what compares its parts


def _joined(parts: Iterable[Encoded], count: int) -> Encoded:
    return Encoded.concatenate(list(parts))


def encode_gallery(
    method: Method,
    split: Split,
    batch_size: int,
    device: torch.device,
    precision: str = "no",
    tick: Tick = no_tick,
    store: Callable[[Iterable[Encoded], int], Encoded] = _joined,
) -> tuple[Encoded, Encoded]:
    """Encodings of all images and all captions of a split: see `encode_side`."""
    images = encode_side("images", method, split, batch_size, device, precision, tick, store)
    return images, encode_side("texts", method, split, batch_size, device, precision, tick, store)


@torch.no_grad()
def encode_side(
    side: Literal["images", "texts"],
    method: Method,
    split: Split,
    batch_size: int,
    device: torch.device,
    precision: str = "no",
    tick: Tick = no_tick,
    store: Callable[[Iterable[Encoded], int], Encoded] = _joined,
) -> Encoded:
    """Encodings of all images or all captions of a split, in file order, in float32. Leaves the method in evaluation.

    precision: of the encoders, `bf16` or `no`. tick is called after each batch: it may raise to abandon a long
    evaluation. store: joins the batches' encodings, given how many items they are together; by default on `device`.
    """
    method.eval()
    encode: Callable[[Any], Encoded] = method.encode_images if side == "images" else method.encode_texts
    count = split.n_images if side == "images" else split.n_texts
    batches = gallery_batches(split, side, batch_size, pin=device.type == "cuda")
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        return store(_encoded(encode, batches, device, tick), count)


def _encoded(
    encode: Callable[[Any], Encoded],
    batches: Iterable[ImageBatch | TextBatch],
    device: torch.device,
    tick: Tick,
) -> Iterator[Encoded]:
    for batch in batches:
        yield encode(batch.to(device)).float()
        tick()


def similarity_matrix(method: Method, images: Encoded, texts: Encoded, tick: Tick = no_tick) -> Tensor:
    """(n_images, n_texts) float32. `combine` sees complete rows where it asks for them (scope gallery)."""
    pairs = PairScores(method, images, texts, images.device, tick)
    similarity = torch.empty(pairs.shape, device=images.device)
    for rows, columns, scores in pairs.blocks():
        similarity[rows, columns] = scores
    return similarity


def fits(split: Split, device: torch.device, matrices: int = 1) -> bool:
    """Is there room for so many similarity matrices of a split, and for what is made of one?"""
    return (matrices + MATRIX_COPIES - 1) * 4 * split.n_images * split.n_texts <= free_memory(device)


def score_split(
    method: Method, split: Split, batch_size: int, device: torch.device, precision: str = "no", tick: Tick = no_tick
) -> Tensor | Streamed:
    """The similarity matrix of a split, (n_images, n_texts) float32 on `device`; streamed where it would not fit."""
    if not fits(split, device):
        return stream_split(method, split, batch_size, device, precision, tick)
    images, texts = encode_gallery(method, split, batch_size, device, precision, tick)
    return similarity_matrix(method, images, texts, tick)


def stream_split(
    method: Method, split: Split, batch_size: int, device: torch.device, precision: str = "no", tick: Tick = no_tick
) -> Streamed:
    """The similarities of a split, to be scored in blocks. Encodings that are large as well are kept on disk."""
    images, texts = encode_gallery(method, split, batch_size, device, precision, tick, _stored)
    return PairScores(method, images, texts, device, tick)


def _stored(parts: Iterable[Encoded], count: int) -> Encoded:
    """In memory where a quarter of what is free holds them (while they are joined they are there twice)."""
    parts = iter(parts)
    first = next(parts)
    expected = first.nbytes * count // len(first)
    both = _chain(first, parts)
    return Encoded.concatenate(list(both)) if 4 * expected <= free_memory(first.device) else mapped(both)


def _chain(first: Encoded, others: Iterator[Encoded]) -> Iterator[Encoded]:
    yield first
    yield from others
