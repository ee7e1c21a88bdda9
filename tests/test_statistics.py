"""Statistics against a brute-force bootstrap and known answers."""

import numpy as np
import pytest
import torch

from benchmarks.protocol import evaluate_matrix
from benchmarks.records import Details
from benchmarks.statistics import (
    compare,
    holm,
    image_scores,
    mean_and_std,
    paired_interval,
    resampled_means,
    significance_ranks,
    two_sided_p,
)


def details_of(i2t: np.ndarray, t2i: np.ndarray, image_of_text: np.ndarray) -> Details:
    tops = [np.zeros((len(ranks), 1)) for ranks in (i2t, i2t, t2i, t2i)]
    return Details(i2t, t2i, image_of_text, *tops)


def test_image_scores_of_two_images():
    scores = image_scores(details_of(np.array([0, 7]), np.array([4, 12, 0, 9]), np.array([0, 1, 0, 1])))
    # image 0: 3 hits, captions 0 (hits at 5, 10) and 2 (3 hits); image 1: one hit at 10, captions 1 (0) and 3 (1)
    np.testing.assert_allclose(scores, [300 + 100 * 5 / 2, 100 + 100 * 1 / 2])


@pytest.mark.parametrize(("folds", "per_image"), [(1, [5] * 20), (1, list(range(1, 21))), (4, [5] * 20)])
def test_the_mean_score_is_the_rsum(folds, per_image):
    torch.manual_seed(0)
    image_of_text = torch.repeat_interleave(torch.arange(20), torch.tensor(per_image))
    similarity = torch.randn(20, len(image_of_text))
    similarity[image_of_text, torch.arange(len(image_of_text))] += 1
    evaluation = evaluate_matrix(similarity, image_of_text, folds)
    scores = image_scores(details_of(evaluation.ranks.i2t, evaluation.ranks.t2i, image_of_text))
    assert scores.mean() == pytest.approx(evaluation.rsum)


def brute_force_means(scores: np.ndarray, resamples: int) -> np.ndarray:
    rng = np.random.default_rng(99)
    return np.array([scores[rng.choice(len(scores), len(scores))].mean() for _ in range(resamples)])


def test_the_bootstrap_agrees_with_brute_force():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 7, 60) * 100.0, rng.integers(0, 7, 60) * 100.0
    slow = brute_force_means(a - b, 20_000)
    fast = compare(a, b)
    assert fast.difference == pytest.approx((a - b).mean())
    assert (fast.low, fast.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=3)
    assert fast.p == pytest.approx(2 * min((slow <= 0).mean(), (slow >= 0).mean()), abs=0.02)
    assert paired_interval(a, b) == (fast.low, fast.high)
    swapped = compare(b, a)
    assert (swapped.low, swapped.high, swapped.p) == pytest.approx((-fast.high, -fast.low, fast.p))


def test_resampled_means_are_paired_and_do_not_depend_on_the_columns_beside_them():
    scores = np.random.default_rng(0).random((50, 3))
    means = resampled_means(scores, 500)
    assert means.shape == (500, 3)
    np.testing.assert_allclose(resampled_means(scores[:, 1:2], 500)[:, 0], means[:, 1])
    np.testing.assert_allclose(resampled_means(scores + np.array([0, 5, 0]), 500)[:, 1], means[:, 1] + 5)
    assert means.std(axis=0) == pytest.approx(scores.std(axis=0) / np.sqrt(50), rel=0.15)


def test_chunks_draw_every_resample_once(monkeypatch):
    scores = np.random.default_rng(0).random((50, 2))
    whole = resampled_means(scores, 501)
    monkeypatch.setattr("benchmarks.statistics.DRAWS_AT_ONCE", 1000)
    np.testing.assert_allclose(resampled_means(scores, 501), whole)


def test_equal_systems_do_not_differ():
    a = np.random.default_rng(0).random(100)
    assert compare(a, a).p == 1
    assert two_sided_p(np.array([1e-12, -1e-12, 1e-12])) == 1  # zero but for rounding


def test_a_difference_on_every_image_is_sure():
    a = np.random.default_rng(0).random(100)
    assert compare(a + 1, a).p == pytest.approx(2 / 10_001)


def test_unpaired_scores_are_refused():
    with pytest.raises(ValueError, match="cannot be paired"):
        compare(np.zeros(3), np.zeros(4))


def test_holm_known_answers():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.5, 0.6])), [1, 1])
    np.testing.assert_allclose(holm(np.array([0.02])), [0.02])
    assert holm(np.array([])).shape == (0,)


def test_ranks_count_significantly_better_systems():
    rng = np.random.default_rng(0)
    base = rng.random(200)
    noise = rng.normal(0, 0.05, 200)
    scores = np.stack([base, base + 1, base + noise - noise.mean(), base - 1], axis=1)
    assert significance_ranks(scores) == [2, 1, 2, 4]
    assert significance_ranks(scores[:, :1]) == [1]


def test_a_large_table_can_still_be_significant():
    base = np.random.default_rng(0).random(30)
    scores = base[:, None] + np.arange(30)  # 435 pairs: p of 10,000 resamples times 435 would not reach 0.05
    assert significance_ranks(scores) == list(range(30, 0, -1))


def test_mean_and_sample_deviation():
    assert mean_and_std([1.0, 2.0, 4.0]) == pytest.approx((7 / 3, np.sqrt(7 / 3)))
    assert mean_and_std([3.0]) == (3.0, None)
