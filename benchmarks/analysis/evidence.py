"""Is a difference more than chance? The choice of the test images counts as chance, and so does the choice of seeds.

A row is all seeds of one recipe. The difference of two rows on the same images has the variance
    var(differences of single images) / n_images  +  pooled variance between seeds × (1/n_A + 1/n_B),
where an image counts with its mean over the seeds of each row. Student's t with Satterthwaite's degrees of freedom over
the two parts gives intervals and p (Satterthwaite, 1946); captions stay with their image, so that nothing is counted
twice. A row of one seed has no variance between seeds of its own: that of the other row stands for both, and where
neither has one, only the choice of the images is in the interval (`Comparison.seeds_counted`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from itm_harness.benchmarks.analysis.student import LEVEL, critical, two_sided_p

ROUNDING = 1e-9  # differences of mean hits that are zero but for the order of summation


@dataclass(frozen=True)
class Sample:
    """One quantity of a row. scores: (n_images,) shares of each image, mean over seeds. seeds: (n,) each seed's value.

    drawn: does a seed have a part in it? False where nothing was trained: then seeds add no chance.
    """

    scores: np.ndarray
    seeds: np.ndarray
    drawn: bool = True

    @cached_property
    def squares(self) -> float:
        """Sum of the squared deviations of its seeds from their mean."""
        return float(np.square(self.seeds - self.seeds.mean()).sum()) if self.drawn else 0.0

    @property
    def freedom(self) -> int:
        """Degrees of freedom of these squares."""
        return len(self.seeds) - 1 if self.drawn else 0

    @property
    def share(self) -> float:
        """The share of the variance between seeds that is left in the mean."""
        return 1 / len(self.seeds) if self.drawn else 0.0


@dataclass(frozen=True)
class Comparison:
    """The difference of two rows, its 95 % interval and two-sided p.

    seeds_counted: is the choice of seeds in it? Not where no seed can tell how much seeds differ.
    """

    difference: float
    low: float
    high: float
    p: float
    seeds_counted: bool


def intervals(samples: Sequence[Sample]) -> np.ndarray:
    """(k, 2) the 95 % interval of each row's mean: over images and, where it has several, over seeds."""
    scores = np.stack([s.scores for s in samples], axis=1)  # (n_images, k)
    squares, freedoms, shares = _seeds_of(samples)
    variance, freedom = _satterthwaite(
        scores.var(axis=0, ddof=_one(scores)) / len(scores),
        len(scores) - 1,
        squares / np.maximum(freedoms, 1) * shares,
        freedoms,
    )
    half = critical(freedom) * np.sqrt(variance)
    return scores.mean(axis=0)[:, None] + half[:, None] * (-1, 1)


def compare(first: Sample, second: Sample) -> Comparison:
    """first − second. Raises ValueError where they are not of the same images."""
    if first.scores.shape != second.scores.shape:
        raise ValueError(f"scores of {first.scores.shape} and {second.scores.shape} images cannot be paired")
    paired = first.scores - second.scores
    seeds_freedom = first.freedom + second.freedom
    pooled = (first.squares + second.squares) / max(seeds_freedom, 1)
    share = first.share + second.share
    variance, freedom = _satterthwaite(
        paired.var(ddof=_one(paired)) / len(paired), len(paired) - 1, pooled * share, seeds_freedom
    )
    difference = float(paired.mean())
    half = float(critical(freedom) * np.sqrt(variance))
    p = float(_p(np.asarray(difference), variance, freedom))
    return Comparison(difference, difference - half, difference + half, p, seeds_freedom > 0 or share == 0)


def pairwise_p(samples: Sequence[Sample]) -> np.ndarray:
    """(k, k) the p of every pair of rows, as `compare` gives it; 1 on the diagonal."""
    scores = np.stack([s.scores for s in samples], axis=1)  # (n_images, k)
    covariance = np.atleast_2d(np.cov(scores, rowvar=False, ddof=_one(scores)))
    image = covariance.diagonal()[:, None] + covariance.diagonal() - 2 * covariance
    squares, freedoms, shares = _seeds_of(samples)
    seeds_freedom = freedoms[:, None] + freedoms
    pooled = (squares[:, None] + squares) / np.maximum(seeds_freedom, 1)
    means = scores.mean(axis=0)
    variance, freedom = _satterthwaite(
        np.maximum(image, 0) / len(scores), len(scores) - 1, pooled * (shares[:, None] + shares), seeds_freedom
    )
    return _p(means[:, None] - means, variance, freedom)


def _seeds_of(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(k,) squares, degrees of freedom, shares."""
    return tuple(np.array([getattr(s, name) for s in samples], float) for name in ("squares", "freedom", "share"))


def _one(values: np.ndarray) -> int:
    """Degrees of freedom that the mean takes: of a single image there is none to take."""
    return min(1, len(values) - 1)


def _satterthwaite(
    images: np.ndarray | float, images_freedom: int, seeds: np.ndarray | float, seeds_freedom: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """The sum of both variances, and its degrees of freedom; those of the images where the seeds have no part."""
    images_freedom, seeds_freedom = np.maximum(images_freedom, 1), np.maximum(seeds_freedom, 1)
    total = np.asarray(images + seeds)
    parts = np.square(images) / images_freedom + np.square(seeds) / seeds_freedom
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(parts > 0, np.square(total) / parts, images_freedom)
    return total, freedom


def _p(difference: np.ndarray, variance: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Where nothing varies, any difference is sure."""
    sure = np.where(np.abs(difference) <= ROUNDING, 1.0, 0.0)
    varies = variance > ROUNDING**2
    t = np.where(varies, difference, 0) / np.sqrt(np.where(varies, variance, 1))
    return np.where(varies, two_sided_p(t, freedom), sure)


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values, (m,): the i-th smallest times the number of hypotheses not yet rejected, never decreasing."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def significant(samples: Sequence[Sample]) -> np.ndarray:
    """(k, k) bool: do two rows differ, after Holm's correction over all pairs?"""
    first, second = np.triu_indices(len(samples), k=1)
    differ = np.zeros((len(samples), len(samples)), dtype=bool)
    if len(first):
        differ[first, second] = holm(pairwise_p(samples)[first, second]) < LEVEL
    return differ | differ.T


@dataclass(frozen=True)
class Span:
    """The ranks that a row may have, from 1."""

    first: int
    last: int


def rank_spans(means: np.ndarray, differ: np.ndarray) -> list[Span]:
    """From 1 + the number of rows that are significantly better to k − the number that are significantly worse.

    means: (k,). differ: (k, k), see `significant`.
    """
    above = means[None, :] > means[:, None]
    better, worse = (differ & above).sum(axis=1), (differ & above.T).sum(axis=1)
    return [Span(1 + int(b), len(means) - int(w)) for b, w in zip(better, worse, strict=True)]


def letters(differ: np.ndarray) -> list[str]:
    """Same-letter groups: two rows share a letter if and only if they do not differ. differ: (k, k), best row first.

    Each group takes the first pair that shares none yet, and every further row that differs from none in it: the cost
    is that of the pairs, where the smallest possible number of letters has no such bound.
    """
    k = len(differ)
    alike = [{int(j) for j in np.flatnonzero(~row)} for row in differ]
    held: list[list[str]] = [[] for _ in range(k)]
    shared: list[set[int]] = [set() for _ in range(k)]
    count = 0
    for i in range(k):
        for j in sorted(alike[i]):
            if j < i or j in shared[i]:
                continue
            group = _extended({i, j}, alike)
            for row in group:
                held[row].append(_letter(count))
                shared[row] |= group
            count += 1
    return [" ".join(names) for names in held]


def _extended(group: set[int], alike: list[set[int]]) -> set[int]:
    candidates = set.intersection(*(alike[row] for row in group)) - group
    while candidates:
        row = min(candidates)
        group = group | {row}
        candidates = (candidates & alike[row]) - {row}
    return group


def _letter(number: int) -> str:
    """a to z, then aa, ab, …"""
    name = ""
    while number >= 0:
        number, rest = divmod(number, 26)
        name, number = chr(ord("a") + rest) + name, number - 1
    return name
