"""Encode a gallery and score it: a method and a split → the similarity matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from datasets.batch import ImageBatch, TextBatch
from datasets.loader import gallery_batches
from datasets.precomp import Split
from methods.base import Encoded, Method

IMAGE_CHUNK, TEXT_CHUNK = 512, 5000  # pairs scored at once, at most

Tick = Callable[[], None]


def _nothing() -> None:
    pass


@torch.no_grad()
def encode_gallery(
    method: Method, split: Split, batch_size: int, device: torch.device, precision: str = "no", tick: Tick = _nothing
) -> tuple[Encoded, Encoded]:
    """Encodings of all images and all captions of a split, in file order, in float32 on `device`.

    tick is called after each batch: it may raise to abandon a long evaluation.
    """
    method.eval()
    pin = device.type == "cuda"
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        images = _encode(method.encode_images, gallery_batches(split, "images", batch_size, pin), device, tick)
        texts = _encode(method.encode_texts, gallery_batches(split, "texts", batch_size, pin), device, tick)
    return images, texts


def _encode(
    encode: Callable[[ImageBatch | TextBatch], Encoded],
    batches: Iterable[ImageBatch | TextBatch],
    device: torch.device,
    tick: Tick,
) -> Encoded:
    parts = []
    for batch in batches:
        parts.append(encode(batch.to(device)).float())
        tick()
    return Encoded.concatenate(parts)


@torch.no_grad()
def similarity_matrix(method: Method, images: Encoded, texts: Encoded, tick: Tick = _nothing) -> Tensor:
    """(n_images, n_texts) float32. `combine` always sees complete rows, so that a gallery-scoped score is right."""
    rows = []
    for _, some_images in images.chunks(IMAGE_CHUNK):
        blocks = []
        for _, some_texts in texts.chunks(TEXT_CHUNK):
            blocks.append(method.score(some_images, some_texts))
            tick()
        rows.append(method.combine({name: torch.cat([b[name] for b in blocks], dim=1) for name in blocks[0]}).float())
    return torch.cat(rows)


def score_split(
    method: Method, split: Split, batch_size: int, device: torch.device, precision: str = "no", tick: Tick = _nothing
) -> Tensor:
    """The similarity matrix of a split, (n_images, n_texts) float32 on `device`."""
    images, texts = encode_gallery(method, split, batch_size, device, precision, tick)
    return similarity_matrix(method, images, texts, tick)
