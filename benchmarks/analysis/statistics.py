"""What an image is worth in each recall; exact McNemar; mean and deviation over seeds.

Captions of one image are not independent, so the image is the unit of chance (McNemar, 1947).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from itm_harness.benchmarks.records.schema import Details

RECALL_AT = (1, 5, 10)


@dataclass(frozen=True)
class McNemar:
    """Queries that only the first, and only the second system gets right, and the exact two-sided p."""

    first_only: int
    second_only: int
    p: float


def image_recalls(details: Details, folds: int = 1) -> np.ndarray:
    """Each image's share of the six recalls, (n_images, 6) float64: i2t R@1, 5, 10, then t2i; their means are those.

    An image's share of t2i is the hits of its captions, weighted so that every caption of a fold counts the same.
    folds: equal consecutive folds of images whose recalls are averaged.
    """
    n_images = len(details.i2t_ranks)
    own = [details.i2t_ranks < k for k in RECALL_AT]
    captions_of_fold = np.bincount(details.image_of_text * folds // n_images, minlength=folds)
    weights = (n_images / folds / np.maximum(captions_of_fold, 1))[np.arange(n_images) * folds // n_images]
    captions = [
        weights * np.bincount(details.image_of_text, weights=details.t2i_ranks < k, minlength=n_images)
        for k in RECALL_AT
    ]
    return 100 * np.stack([*own, *captions], axis=1).astype(np.float64)


def image_scores(details: Details, folds: int = 1) -> np.ndarray:
    """Each image's share of the rsum, (n_images,) float64: their mean is the rsum."""
    return image_recalls(details, folds).sum(axis=1)


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Do two systems get equally many of the same queries right? first, second: (n,) bool.

    Exact: of the queries that only one of them gets right, each is the first's with probability 1/2.
    """
    only, other = int((first & ~second).sum()), int((second & ~first).sum())
    n = only + other
    tail = sum(comb(n, i) for i in range(min(only, other) + 1))  # whole numbers: no rounding, however many queries
    return McNemar(only, other, min(1.0, 2 * tail / 2**n))


def mean_and_std(values: list[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation over seeds; None for a single one."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
