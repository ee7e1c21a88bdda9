"""How sure a difference is: the paired bootstrap over images, Holm's correction, mean and deviation over seeds.

Captions of one image are not independent, so images are resampled, each with its captions (Efron & Tibshirani, 1993,
chapters 13 and 15; Holm, 1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.records import Details

RESAMPLES = 10_000
DRAWS_AT_ONCE = 4_000_000  # image draws per chunk: bounds memory to about 100 MB
RECALL_AT = (1, 5, 10)
ROUNDING = 1e-9  # differences of mean hits that are zero but for the order of summation


@dataclass(frozen=True)
class Comparison:
    """The difference of two systems' rsum on the same images, its 95 % interval, and its two-sided p."""

    difference: float
    low: float
    high: float
    p: float


def image_scores(details: Details) -> np.ndarray:
    """Each image's share of the rsum, (n_images,) float64: their mean is the rsum (of the mean over equal folds).

    An image's share is its own hits at 1, 5 and 10, plus those of its captions, weighted so that every caption of the
    data set counts the same.
    """
    n_images, n_texts = len(details.i2t_ranks), len(details.t2i_ranks)
    own = _hits(details.i2t_ranks)  # (n_images,)
    captions = np.bincount(details.image_of_text, weights=_hits(details.t2i_ranks), minlength=n_images)  # (n_images,)
    return 100 * (own + captions * (n_images / n_texts))


def _hits(ranks: np.ndarray) -> np.ndarray:
    return sum((ranks < k).astype(np.float64) for k in RECALL_AT)


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


def compare(a: np.ndarray, b: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """a − b for two systems' image scores, (n_images,) each, of the same images in the same order."""
    if a.shape != b.shape:
        raise ValueError(f"image scores of {a.shape} and {b.shape} cannot be paired")
    differences = resampled_means((a - b)[:, None], resamples, seed)[:, 0]
    low, high = np.quantile(differences, [0.025, 0.975])
    return Comparison(float((a - b).mean()), float(low), float(high), float(two_sided_p(differences)))


def paired_interval(a: np.ndarray, b: np.ndarray, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the rsum difference a − b."""
    comparison = compare(a, b, resamples, seed)
    return comparison.low, comparison.high


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
