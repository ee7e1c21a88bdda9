"""Evaluation under the clock: encode a gallery, score its pairs, rank them; beside the plain way to rank."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise

import torch

from benchmarks.bench.rates import synchronise
from benchmarks.evaluate import encode_gallery, similarity_matrix
from benchmarks.protocol import evaluate_matrix
from benchmarks.references.ranks import reference_ranks
from datasets.precomp import Split
from methods.base import Method

BATCH = 256


@dataclass(frozen=True)
class GalleryTimes:
    """Seconds. plain_rank_seconds: of sorting every row and column; None where it was not asked for."""

    images: int
    texts: int
    encode_seconds: float
    score_seconds: float
    rank_seconds: float
    plain_rank_seconds: float | None


def time_gallery(method: Method, split: Split, device: torch.device, bf16: bool, plain: bool) -> GalleryTimes:
    """Times of a split's whole gallery."""
    marks = [_now(device)]
    images, texts = encode_gallery(method, split, BATCH, device, "bf16" if bf16 else "no")
    marks.append(_now(device))
    similarity = similarity_matrix(method, images, texts)
    marks.append(_now(device))
    evaluate_matrix(similarity, split.image_of_text)
    marks.append(_now(device))
    if plain:
        reference_ranks(similarity.cpu().numpy(), split.image_of_text.numpy())
    ended = _now(device)
    encode, score, rank = (after - before for before, after in pairwise(marks))
    return GalleryTimes(split.n_images, split.n_texts, encode, score, rank, ended - marks[-1] if plain else None)


def _now(device: torch.device) -> float:
    synchronise(device)
    return time.perf_counter()
