"""Is a difference more than chance? The choice of the test images counts as chance, and so does the choice of seeds.

A row is all seeds of one recipe. The difference of two rows on the same images has the variance
    var(differences of single images) / n_images  +  pooled variance between seeds × (1/n_A + 1/n_B),
where an image counts with its mean over the seeds of each row; captions stay with their image. The variance between
seeds is pooled over all rows of the benchmark: three seeds of a row say little of it, and a single one nothing.
Student's t with Satterthwaite's degrees of freedom over the two parts gives intervals and p (Satterthwaite, 1946).
Noise of a seed on single images is in both parts, which makes the test somewhat careful.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
class SeedVariance:
    """How much seeds of one recipe differ. freedom: 0 where no row has a second seed, and nothing is known."""

    variance: float
    freedom: int

    @classmethod
    def pooled(cls, samples: Iterable[Sample]) -> SeedVariance:
        """Over rows, whose seeds are taken to differ alike."""
        known = [(sample.squares, sample.freedom) for sample in samples]
        freedom = sum(f for _, f in known)
        return cls(sum(s for s, _ in known) / freedom if freedom else 0.0, freedom)


@dataclass(frozen=True)
class Comparison:
    """The difference of two rows, its 95 % interval and two-sided p.

    seeds_counted: is the choice of seeds in it? Not where nothing tells how much seeds differ.
    """

    difference: float
    low: float
    high: float
    p: float
    seeds_counted: bool


def intervals(samples: Sequence[Sample], seeds: SeedVariance) -> np.ndarray:
    """(k, 2) the 95 % interval of each row's mean, over images and seeds."""
    scores, shares = _stacked(samples)
    variance, freedom = _satterthwaite(scores.var(axis=0, ddof=_one(scores)) / len(scores), len(scores), shares, seeds)
    half = critical(freedom) * np.sqrt(variance)
    return scores.mean(axis=0)[:, None] + half[:, None] * (-1, 1)


def compare(first: Sample, second: Sample, seeds: SeedVariance) -> Comparison:
    """first − second. Raises ValueError where they are not of the same images."""
    if first.scores.shape != second.scores.shape:
        raise ValueError(f"scores of {first.scores.shape} and {second.scores.shape} images cannot be paired")
    paired = first.scores - second.scores
    share = first.share + second.share
    variance, freedom = _satterthwaite(paired.var(ddof=_one(paired)) / len(paired), len(paired), share, seeds)
    difference = float(paired.mean())
    half = float(critical(freedom) * np.sqrt(variance))
    p = float(_p(np.asarray(difference), variance, freedom))
    return Comparison(difference, difference - half, difference + half, p, seeds.freedom > 0 or share == 0)


def pairwise_p(samples: Sequence[Sample], seeds: SeedVariance) -> np.ndarray:
    """(k, k) the p of every pair of rows, as `compare` gives it; 1 on the diagonal."""
    means = np.array([sample.scores.mean() for sample in samples])
    return _p(means[:, None] - means, *_pairwise(samples, seeds))


def smallest_differences(samples: Sequence[Sample], seeds: SeedVariance, level: float = LEVEL) -> np.ndarray:
    """(k, k) by how much every pair of rows must differ to be told apart at a level: half of its interval."""
    variance, freedom = _pairwise(samples, seeds)
    return critical(freedom, level) * np.sqrt(variance)


def _pairwise(samples: Sequence[Sample], seeds: SeedVariance) -> tuple[np.ndarray, np.ndarray]:
    """(k, k) the variance of every difference, and its degrees of freedom."""
    scores, shares = _stacked(samples)
    covariance = np.atleast_2d(np.cov(scores, rowvar=False, ddof=_one(scores)))
    images = np.maximum(covariance.diagonal()[:, None] + covariance.diagonal() - 2 * covariance, 0)
    return _satterthwaite(images / len(scores), len(scores), shares[:, None] + shares, seeds)


def _stacked(samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n_images, k), and the share (k,) of the seeds' variance in each mean."""
    return np.stack([s.scores for s in samples], axis=1), np.array([s.share for s in samples])


def _one(values: np.ndarray) -> int:
    """Degrees of freedom that the mean takes: of a single image there is none to take."""
    return min(1, len(values) - 1)


def _satterthwaite(
    images: np.ndarray, n_images: int, shares: np.ndarray | float, seeds: SeedVariance
) -> tuple[np.ndarray, np.ndarray]:
    """The whole variance of means, of which `images` is the images' part, and its degrees of freedom."""
    drawn = np.asarray(shares * seeds.variance)
    total = images + drawn
    parts = np.square(images) / max(n_images - 1, 1) + np.square(drawn) / max(seeds.freedom, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return total, np.where(parts > 0, np.square(total) / parts, max(n_images - 1, 1))


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


def significant(samples: Sequence[Sample], seeds: SeedVariance) -> np.ndarray:
    """(k, k) bool: do two rows differ, after Holm's correction over all pairs?"""
    first, second = np.triu_indices(len(samples), k=1)
    differ = np.zeros((len(samples), len(samples)), dtype=bool)
    if len(first):
        differ[first, second] = holm(pairwise_p(samples, seeds)[first, second]) < LEVEL
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
