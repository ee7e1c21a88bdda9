"""Evaluation under the clock: encode a gallery, score its pairs, rank them; beside the plain way to rank."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from itm_harness.benchmarks.bench.rates import synchronise
from itm_harness.benchmarks.bench.references.ranks import reference_ranks
from itm_harness.benchmarks.protocol.evaluate import encode_gallery, similarity_matrix
from itm_harness.benchmarks.protocol.ranks import evaluate_matrix
from itm_harness.benchmarks.protocol.scoring import benchmark_results
from itm_harness.datasets.split import Split
from itm_harness.methods.base import Method

BATCH = 256


@dataclass(frozen=True)
class GalleryTimes:
    """Seconds. rank: of the whole gallery, as after an epoch. results: ranks, folds and best ten of all benchmarks.

    plain_rank_seconds: of sorting every row and column; None where it was not asked for.
    """

    images: int
    texts: int
    encode_seconds: float
    score_seconds: float
    rank_seconds: float
    results_seconds: float
    plain_rank_seconds: float | None


def time_gallery(method: Method, split: Split, device: torch.device, bf16: bool, plain: bool) -> GalleryTimes:
    """Times of a split's whole gallery; on a GPU of the second time, when its libraries are loaded."""
    for _ in range(2 if device.type == "cuda" else 1):
        seconds, similarity = _evaluate(method, split, device, bf16)
    plain_seconds = None
    if plain:
        began = _now(device)
        reference_ranks(similarity.cpu().numpy(), split.image_of_text.numpy())
        plain_seconds = _now(device) - began
    return GalleryTimes(split.n_images, split.n_texts, *seconds, plain_seconds)


def _evaluate(method: Method, split: Split, device: torch.device, bf16: bool) -> tuple[list[float], Tensor]:
    """Seconds to encode, to score, to rank and for all results, and the similarity matrix."""
    marks = [_now(device)]
    images, texts = encode_gallery(method, split, BATCH, device, "bf16" if bf16 else "no")
    marks.append(_now(device))
    similarity = similarity_matrix(method, images, texts)
    marks.append(_now(device))
    evaluate_matrix(similarity, split.image_of_text)
    marks.append(_now(device))
    benchmark_results(similarity, split)
    marks.append(_now(device))
    return [after - before for before, after in pairwise(marks)], similarity


def _now(device: torch.device) -> float:
    synchronise(device)
    return time.perf_counter()
