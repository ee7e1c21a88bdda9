"""Statistics against a brute-force bootstrap and known answers."""

import numpy as np
import pytest
import torch

from itm_harness.benchmarks.analysis.statistics import (
    McNemar,
    compare,
    holm,
    image_recalls,
    image_scores,
    intervals,
    mcnemar,
    mean_and_std,
    resampled_means,
    significance_ranks,
    two_sided_p,
)
from itm_harness.benchmarks.protocol.ranks import evaluate_matrix
from itm_harness.benchmarks.records.schema import Details


def details_of(i2t: np.ndarray, t2i: np.ndarray, image_of_text: np.ndarray) -> Details:
    tops = [np.zeros((len(ranks), 1)) for ranks in (i2t, i2t, t2i, t2i)]
    return Details(i2t, t2i, image_of_text, *tops)


def test_image_scores_of_two_images():
    scores = image_scores(details_of(np.array([0, 7]), np.array([4, 12, 0, 9]), np.array([0, 1, 0, 1])))
    # image 0: 3 hits, captions 0 (hits at 5, 10) and 2 (3 hits); image 1: one hit at 10, captions 1 (0) and 3 (1)
    np.testing.assert_allclose(scores, [300 + 100 * 5 / 2, 100 + 100 * 1 / 2])


def test_image_recalls_of_two_images():
    recalls = image_recalls(details_of(np.array([0, 7]), np.array([4, 12, 0, 9]), np.array([0, 1, 0, 1])))
    np.testing.assert_allclose(recalls, [[100, 100, 100, 50, 100, 100], [0, 0, 100, 0, 0, 50]])


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
    (fast,) = compare(a[:, None], b[:, None])
    assert fast.difference == pytest.approx((a - b).mean())
    assert (fast.low, fast.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=3)
    assert fast.p == pytest.approx(2 * min((slow <= 0).mean(), (slow >= 0).mean()), abs=0.02)
    (swapped,) = compare(b[:, None], a[:, None])
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
    monkeypatch.setattr("itm_harness.benchmarks.analysis.statistics.DRAWS_AT_ONCE", 1000)
    np.testing.assert_allclose(resampled_means(scores, 501), whole)


def test_equal_systems_do_not_differ():
    a = np.random.default_rng(0).random((100, 1))
    assert compare(a, a)[0].p == 1
    assert two_sided_p(np.array([1e-12, -1e-12, 1e-12])) == 1  # zero but for rounding


def test_a_difference_on_every_image_is_sure():
    a = np.random.default_rng(0).random((100, 1))
    assert compare(a + 1, a)[0].p == pytest.approx(2 / 10_001)


def test_the_interval_of_a_share_is_that_of_the_binomial():
    """Resampling 100 images of which 25 count 1 draws from Binomial(100, 1/4): its quantiles are 17 and 34."""
    a = np.zeros((100, 2))
    a[:25] = 1, 3
    assert intervals(a) == pytest.approx(np.array([[0.17, 0.34], [0.51, 1.02]]))
    first, second = compare(a, np.zeros((100, 2)))
    assert (first.difference, second.difference) == pytest.approx((0.25, 0.75))
    assert (first.low, first.high, second.low) == pytest.approx((0.17, 0.34, 0.51))


def test_an_interval_over_seven_images_is_exact():
    """Nothing but 0 and 7 of one image: the mean of a resample is how often that image is drawn, Binomial(7, 1/7)."""
    a = np.zeros((7, 1))
    a[3] = 7
    assert intervals(a)[0].tolist() == [0, 3]  # P(X > 3) = 0.011, P(X > 2) = 0.061


@pytest.mark.parametrize(
    ("first_only", "second_only", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (1, 0, 1.0), (6, 0, 2 / 64), (1, 9, 2 * 11 / 1024), (9, 1, 2 * 11 / 1024)],
)
def test_mcnemar_counts_the_tail_of_a_fair_coin(first_only, second_only, p):
    both, neither = [True] * 4, [False] * 7
    first = np.array(both + neither + [True] * first_only + [False] * second_only)
    second = np.array(both + neither + [False] * first_only + [True] * second_only)
    assert mcnemar(first, second) == McNemar(first_only, second_only, pytest.approx(p))


def test_mcnemar_of_thousands_of_queries_does_not_overflow():
    first = np.arange(5000) < 2600
    found = mcnemar(first, ~first)
    assert (found.first_only, found.second_only) == (2600, 2400)
    assert found.p == pytest.approx(0.0048836, abs=1e-7)  # scipy.stats.binomtest(2400, 5000)
    assert mcnemar(np.ones(5000, bool), np.zeros(5000, bool)).p == 0  # below the smallest float


def test_unpaired_scores_are_refused():
    with pytest.raises(ValueError, match="cannot be paired"):
        compare(np.zeros((3, 1)), np.zeros((4, 1)))


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
