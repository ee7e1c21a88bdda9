"""What an image is worth, exact McNemar, mean and deviation: against known answers."""

import numpy as np
import pytest
import torch

from itm_harness.benchmarks.analysis.statistics import McNemar, image_recalls, image_scores, mcnemar, mean_and_std
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


@pytest.mark.parametrize(
    ("folds", "per_image"),
    [(1, [5] * 20), (1, list(range(1, 21))), (4, [5] * 20), (4, list(range(1, 21)))],
)
def test_the_mean_score_is_the_rsum(folds, per_image):
    torch.manual_seed(0)
    image_of_text = torch.repeat_interleave(torch.arange(20), torch.tensor(per_image))
    similarity = torch.randn(20, len(image_of_text))
    similarity[image_of_text, torch.arange(len(image_of_text))] += 1
    evaluation = evaluate_matrix(similarity, image_of_text, folds)
    scores = image_scores(details_of(evaluation.ranks.i2t, evaluation.ranks.t2i, image_of_text), folds)
    assert scores.mean() == pytest.approx(evaluation.rsum)


def test_every_caption_of_a_fold_counts_the_same():
    """Two folds of two images: one with 1 and 3 captions, one with 2 and 2."""
    image_of_text = np.array([0, 1, 1, 1, 2, 2, 3, 3])
    t2i = np.array([0, 9, 9, 9, 0, 0, 0, 9])
    recalls = image_recalls(details_of(np.zeros(4), t2i, image_of_text), folds=2)
    assert recalls[:, 3].mean() == pytest.approx((25 + 75) / 2)  # R@1 of each fold, averaged
    assert recalls[0, 3] == pytest.approx(2 * 100 / 4)  # one hit of four captions, of an image that is half of the fold


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


def test_mean_and_sample_deviation():
    assert mean_and_std([1.0, 2.0, 4.0]) == pytest.approx((7 / 3, np.sqrt(7 / 3)))
    assert mean_and_std([3.0]) == (3.0, None)
