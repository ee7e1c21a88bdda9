"""Student's t against printed tables, closed forms and an integral."""

from math import atan, exp, lgamma, pi, sqrt

import numpy as np
import pytest

from itm_harness.benchmarks.analysis.student import critical, two_sided_p

PRINTED = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 10: 2.228, 30: 2.042, 120: 1.980}  # two-sided 5 %, any textbook


def integrated_p(t: float, freedom: float) -> float:
    """2 P(T > t) with T = sqrt(freedom) tan(angle): the mean of cos^(freedom − 1) over the angles of the tail."""
    angles = np.linspace(atan(t / sqrt(freedom)), pi / 2, 400_001)
    scale = exp(lgamma((freedom + 1) / 2) - lgamma(freedom / 2) - lgamma(0.5))
    return 2 * scale * np.trapezoid(np.cos(angles) ** (freedom - 1), angles)


@pytest.mark.parametrize(("freedom", "t"), PRINTED.items())
def test_quantiles_are_those_of_the_tables(freedom, t):
    assert critical(np.array(freedom)) == pytest.approx(t, abs=5e-4)
    assert two_sided_p(np.array(t), np.array(freedom)) == pytest.approx(0.05, abs=5e-5)


def test_one_and_two_degrees_of_freedom_have_closed_forms():
    t = np.array([0, 0.01, 0.5, 1, 3, 40, 1e4])
    np.testing.assert_allclose(two_sided_p(t, 1), 1 - 2 * np.arctan(t) / pi, atol=1e-13)
    np.testing.assert_allclose(two_sided_p(t, 2), 1 - t / np.sqrt(2 + t**2), atol=1e-13)
    np.testing.assert_array_equal(two_sided_p(-t, 2), two_sided_p(t, 2))


@pytest.mark.parametrize(("t", "freedom"), [(0.3, 3.7), (2.1, 7.3), (5.0, 1.5), (3.3, 4999.0), (7.0, 12.0)])
def test_fractional_degrees_of_freedom_agree_with_the_integral(t, freedom):
    assert two_sided_p(np.array(t), np.array(freedom)) == pytest.approx(integrated_p(t, freedom), rel=1e-7)


def test_many_degrees_of_freedom_are_the_normal_distribution():
    assert critical(np.array(1e8)) == pytest.approx(1.959964, abs=1e-6)


@pytest.mark.parametrize("level", [0.2, 0.05, 0.05 / 28, 1e-6])
def test_the_quantile_is_the_inverse(level):
    freedom = np.array([1, 1.3, 2, 4.4, 30, 499, 4999])
    np.testing.assert_allclose(two_sided_p(critical(freedom, level), freedom), level, rtol=1e-9)
