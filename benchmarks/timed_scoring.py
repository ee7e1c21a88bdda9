"""Score a split and take the time: of encoding the gallery and of scoring its pairs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.evaluate import encode_gallery, similarity_matrix
from datasets.precomp import Split
from methods.base import Method


@dataclass(frozen=True)
class Scored:
    """similarity: (n_images, n_texts) float32. encode_seconds: reading included."""

    similarity: Tensor
    encode_seconds: float
    score_seconds: float

    def times(self) -> dict[str, float]:
        """The fields of a record."""
        return {"encode_seconds": self.encode_seconds, "score_seconds": self.score_seconds}


def score_split_timed(
    method: Method, split: Split, batch_size: int, device: torch.device, precision: str = "no"
) -> Scored:
    """What `score_split` returns, bit for bit, and the wall time of its two halves."""
    began = _now(device)
    images, texts = encode_gallery(method, split, batch_size, device, precision)
    encoded = _now(device)
    similarity = similarity_matrix(method, images, texts)
    return Scored(similarity, encoded - began, _now(device) - encoded)


def _now(device: torch.device) -> float:
    """The clock, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
