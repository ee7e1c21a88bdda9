"""Student's t with fractional degrees of freedom: two-sided p, and the quantile of a 95 % interval."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtr, stdtrit

LEVEL = 0.05  # of a two-sided test


def two_sided_p(t: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """P(|T| > |t|), of the shape that t and freedom broadcast to. freedom: > 0."""
    return 2 * stdtr(freedom, -np.abs(t))


def critical(freedom: np.ndarray, level: float | np.ndarray = LEVEL) -> np.ndarray:
    """The t whose two-sided p is `level`, in the shape of freedom."""
    return -stdtrit(freedom, np.asarray(level) / 2)
