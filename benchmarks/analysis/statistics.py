"""How sure a number is: bootstrap intervals over images, the paired bootstrap, exact McNemar, Holm's correction.

Captions of one image are not independent, so images are resampled, each with its captions (Efron & Tibshirani, 1993,
chapters 13 and 15; McNemar, 1947; Holm, 1979).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from itm_harness.benchmarks.records.schema import Details

RESAMPLES = 10_000
DRAWS_AT_ONCE = 4_000_000  # image draws per chunk: bounds memory to about 100 MB
RECALL_AT = (1, 5, 10)
LEVELS = (0.025, 0.975)  # of a 95 % interval
ROUNDING = 1e-9  # differences of mean hits that are zero but for the order of summation


@dataclass(frozen=True)
class Comparison:
    """The difference of two systems' rsum on the same images, its 95 % interval, and its two-sided p."""

    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class McNemar:
    """Queries that only the first, and only the second system gets right, and the exact two-sided p."""

    first_only: int
    second_only: int
    p: float


def image_recalls(details: Details) -> np.ndarray:
    """Each image's share of the six recalls, (n_images, 6) float64: i2t R@1, 5, 10, then t2i; their means are those.

    An image's share of t2i is the hits of its captions, weighted so that every caption of the data set counts the same.
    """
    n_images, n_texts = len(details.i2t_ranks), len(details.t2i_ranks)
    own = [details.i2t_ranks < k for k in RECALL_AT]
    captions = [
        np.bincount(details.image_of_text, weights=details.t2i_ranks < k, minlength=n_images) * (n_images / n_texts)
        for k in RECALL_AT
    ]
    return 100 * np.stack([*own, *captions], axis=1).astype(np.float64)


def image_scores(details: Details) -> np.ndarray:
    """Each image's share of the rsum, (n_images,) float64: their mean is the rsum (of the mean over equal folds)."""
    return image_recalls(details).sum(axis=1)


def resampled_means(scores: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Means of bootstrap samples of images. scores: (n_images, k), one column per system. Returns (resamples, k).

    Every column sees the same samples, so differences of columns are paired.
    """
    n_images = len(scores)
    generator = np.random.default_rng(seed)
    chunk = max(1, DRAWS_AT_ONCE // n_images)
    sizes = [min(chunk, resamples - start) for start in range(0, resamples, chunk)]
    return np.concatenate([_draw_weights(generator, n, n_images) @ scores for n in sizes]) / n_images


def _draw_weights(generator: np.random.Generator, samples: int, n_images: int) -> np.ndarray:
    """How often each image is drawn: multinomial, (samples, n_images) float64."""
    drawn = generator.integers(0, n_images, size=(samples, n_images))
    drawn += n_images * np.arange(samples)[:, None]
    return np.bincount(drawn.ravel(), minlength=samples * n_images).reshape(samples, n_images).astype(np.float64)


def two_sided_p(differences: np.ndarray) -> np.ndarray:
    """p of "no difference" from resampled differences (resamples, ...): twice the smaller tail that crosses zero."""
    resamples = len(differences)
    tails = [(differences <= ROUNDING).sum(axis=0), (differences >= -ROUNDING).sum(axis=0)]
    return np.minimum(1.0, 2 * (np.minimum(*tails) + 1) / (resamples + 1))


def intervals(scores: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """95 % percentile interval of each column's mean. scores: (n_images, k). Returns (k, 2): low, high."""
    return np.quantile(resampled_means(scores, resamples, seed), LEVELS, axis=0).T


def compare(a: np.ndarray, b: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> list[Comparison]:
    """a − b for k quantities of two systems, (n_images, k) each, of the same images in the same order."""
    if a.shape != b.shape:
        raise ValueError(f"image scores of {a.shape} and {b.shape} cannot be paired")
    differences = resampled_means(a - b, resamples, seed)  # (resamples, k)
    low, high = np.quantile(differences, LEVELS, axis=0)
    columns = zip((a - b).mean(axis=0), low, high, two_sided_p(differences), strict=True)
    return [Comparison(*map(float, column)) for column in columns]


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """Do two systems get equally many of the same queries right? first, second: (n,) bool.

    Exact: of the queries that only one of them gets right, each is the first's with probability 1/2.
    """
    only, other = int((first & ~second).sum()), int((second & ~first).sum())
    n = only + other
    tail = sum(comb(n, i) for i in range(min(only, other) + 1))  # whole numbers: no rounding, however many queries
    return McNemar(only, other, min(1.0, 2 * tail / 2**n))


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values, (m,): the i-th smallest times the number of hypotheses not yet rejected, never decreasing."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def significance_ranks(scores: np.ndarray, level: float = 0.05, seed: int = 0) -> list[int]:
    """Rank of each system: 1 + how many are significantly better, Holm over all pairs of the table.

    scores: (n_images, k), one column per system, averaged over its seeds.
    """
    first, second = np.triu_indices(scores.shape[1], k=1)
    resamples = max(RESAMPLES, 80 * len(first))  # so that the smallest p stays below `level` after Holm
    means = resampled_means(scores, resamples, seed)
    p = np.array([two_sided_p(means[:, i] - means[:, j]) for i, j in zip(first, second, strict=True)])
    gain = scores.mean(axis=0)
    ranks = np.ones(scores.shape[1], dtype=int)
    for i, j, adjusted in zip(first, second, holm(p), strict=True):
        if adjusted < level:
            ranks[i if gain[i] < gain[j] else j] += 1
    return ranks.tolist()


def mean_and_std(values: list[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation over seeds; None for a single one."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
