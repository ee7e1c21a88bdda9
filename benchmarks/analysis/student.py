"""Student's t with fractional degrees of freedom: two-sided p, and the quantile of a 95 % interval.

P(|T| > t) with ν degrees of freedom is the regularised incomplete beta function I_x(ν/2, 1/2) at x = ν / (ν + t²),
which is computed by its continued fraction (DLMF 8.17.22) after Lentz's method.
"""

from __future__ import annotations

from math import lgamma

import numpy as np

LEVEL = 0.05  # of a two-sided test
TINY = 1e-300
STEPS = 500  # of the fraction, which needs a few times the square root of the degrees of freedom
CONVERGED = 1e-14
NEWTON_STEPS = 50
ACCURACY = 1e-11  # of log t; each step squares the error
LONGEST_STEP = 1.0  # of log t

_log_gamma = np.vectorize(lgamma, otypes=[float])


def two_sided_p(t: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """P(|T| > |t|), of the shape that t and freedom broadcast to. freedom: > 0."""
    t, freedom = np.broadcast_arrays(np.asarray(t, float), np.asarray(freedom, float))
    squared = t * t
    near = squared * (freedom / 2 + 1) < freedom * 1.5  # there the fraction converges for the other tail alone
    a, b = np.where(near, 0.5, freedom / 2), np.where(near, freedom / 2, 0.5)
    tail = np.where(near, squared, freedom) / (freedom + squared)
    return np.clip(np.where(near, 1 - _beta(a, b, tail), _beta(a, b, tail)), 0, 1)


def critical(freedom: np.ndarray, level: float | np.ndarray = LEVEL) -> np.ndarray:
    """The t whose two-sided p is `level`, in the shape of freedom.

    Newton's method on log p over log t, which is concave: a step from below goes too far, so it is bounded, and those
    from above do not.
    """
    freedom = np.asarray(freedom, float)
    log_t = np.zeros(freedom.shape)
    for _ in range(NEWTON_STEPS):
        t = np.exp(log_t)
        p = two_sided_p(t, freedom)
        step = p / (2 * t * _density(t, freedom)) * np.log(p / level)
        log_t = log_t + np.minimum(step, LONGEST_STEP)
        if np.all(np.abs(step) < ACCURACY):
            break
    return np.exp(log_t)


def _density(t: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    scale = np.exp(_log_gamma((freedom + 1) / 2) - _log_gamma(freedom / 2)) / np.sqrt(freedom * np.pi)
    return scale * np.exp(-(freedom + 1) / 2 * np.log1p(t * t / freedom))


def _beta(a: np.ndarray, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    """I_x(a, b), for x below about (a + 1) / (a + b + 2)."""
    with np.errstate(divide="ignore"):
        front = a * np.log(x) + b * np.log1p(-x) + _log_gamma(a + b) - _log_gamma(a) - _log_gamma(b)
    return np.exp(front) * _fraction(a, b, x) / a


def _fraction(a: np.ndarray, b: np.ndarray, x: np.ndarray) -> np.ndarray:
    """1 / (1 + d₁ / (1 + d₂ / (1 + …)))."""
    value = above = np.ones(x.shape)
    below = np.zeros(x.shape)
    for step in range(1, STEPS):
        m, odd = divmod(step, 2)
        weight = -(a + m) * (a + b + m) / (a + 2 * m + 1) if odd else m * (b - m) / (a + 2 * m - 1)
        d = weight * x / (a + 2 * m)
        below, above = 1 / _nonzero(1 + d * below), _nonzero(1 + d / above)
        value = value * below * above
        if np.all(np.abs(below * above - 1) < CONVERGED):
            break
    return 1 / value


def _nonzero(value: np.ndarray) -> np.ndarray:
    return np.where(np.abs(value) < TINY, TINY, value)
