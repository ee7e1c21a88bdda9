"""Score a split and take the time: of encoding the gallery and of scoring its pairs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from itm_harness.benchmarks.protocol.evaluate import encode_gallery, fits, similarity_matrix, stream_split
from itm_harness.benchmarks.protocol.pair_scores import Streamed
from itm_harness.datasets.split import Split
from itm_harness.methods.base import Method


@dataclass(frozen=True)
class Scored:
    """similarity: (n_images, n_texts) float32, or streamed. encode_seconds: reading included.

    score_seconds: 0 where it is streamed, for then it will be scored while it is ranked.
    """

    similarity: Tensor | Streamed
    encode_seconds: float
    score_seconds: float

    def times(self) -> dict[str, float]:
        """The fields of a record."""
        return {"encode_seconds": self.encode_seconds, "score_seconds": self.score_seconds}


def score_split_timed(
    method: Method,
    split: Split,
    batch_size: int,
    device: torch.device,
    precision: str = "no",
    whole: bool | None = None,
) -> Scored:
    """What `score_split` returns, bit for bit, and the wall time of its two halves.

    whole: a matrix, not streamed; None = where it fits.
    """
    began = _now(device)
    if not (fits(split, device) if whole is None else whole):
        streamed = stream_split(method, split, batch_size, device, precision)
        return Scored(streamed, _now(device) - began, 0.0)
    images, texts = encode_gallery(method, split, batch_size, device, precision)
    encoded = _now(device)
    similarity = similarity_matrix(method, images, texts)
    return Scored(similarity, encoded - began, _now(device) - encoded)


def _now(device: torch.device) -> float:
    """The clock, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
