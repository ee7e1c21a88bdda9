"""Runs that have learnt nothing: what a test of theirs looks like, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

from itm_harness.benchmarks.records.schema import Metrics

UNSCORED = "the scores of the test split are not finite; every query counts as wrong"


def collapse(metrics: Mapping[str, Metrics]) -> str | None:
    """A sentence where R@1 is at chance in both directions and scores tie: embeddings that are all alike do that."""
    return next((_sentence(name, m) for name, m in metrics.items() if _at_chance(m) and m.i2t.ties + m.t2i.ties), None)


def _at_chance(metrics: Metrics) -> bool:
    """No more right queries than three standard deviations above what a random order gets (Poisson).

    In a random order, the first caption belongs to a given image, and the first image to a given caption, with
    probability 1 / images of the fold.
    """
    chance = metrics.folds / metrics.n_images
    sides = ((metrics.i2t.r1, metrics.n_images), (metrics.t2i.r1, metrics.n_texts))
    return all(r1 / 100 * n <= n * chance + 3 * sqrt(n * chance) for r1, n in sides)


def _sentence(benchmark: str, metrics: Metrics) -> str:
    return (
        f"the embeddings have collapsed: on {benchmark} R@1 is at chance (i2t {metrics.i2t.r1:.1f}, "
        f"t2i {metrics.t2i.r1:.1f}) and {metrics.i2t.ties + metrics.t2i.ties} queries tie"
    )
