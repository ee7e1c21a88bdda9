"""Evidence: the level of the test, known answers, ranks and letters."""

import numpy as np
import pytest

from itm_harness.benchmarks.analysis.evidence import (
    Sample,
    SeedVariance,
    Span,
    compare,
    holm,
    intervals,
    letters,
    pairwise_p,
    rank_spans,
    significant,
    smallest_differences,
)
from itm_harness.benchmarks.analysis.student import critical

N = 200


def simulated(rng, count, seeds, between_seeds, recipe=60.0, noise=30.0):
    """Rows of one true rsum: images of unequal difficulty, a recipe's own luck with an image, seeds, and noise."""
    images = rng.normal(300, 150, N)
    rows = []
    for _ in range(count):
        scores = images + rng.normal(0, recipe, N) + rng.normal(0, between_seeds, (seeds, 1))
        scores = scores + rng.normal(0, noise, (seeds, N))
        rows.append(Sample(scores.mean(axis=0), scores.mean(axis=1)))
    return rows


UNKNOWN = SeedVariance(0.0, 0)


def pooled(rows):
    return SeedVariance.pooled(rows)


@pytest.mark.parametrize("between_seeds", [0, 6, 20])
@pytest.mark.parametrize("seeds", [2, 3])
def test_rows_that_are_equal_differ_in_five_of_a_hundred_pairs(seeds, between_seeds):
    """Of 200 x 66 pairs. Where seeds hardly differ the test is somewhat careful: noise of a seed is in both parts."""
    rng = np.random.default_rng(seeds)
    boards = [simulated(rng, 12, seeds, between_seeds) for _ in range(200)]
    p = np.concatenate([pairwise_p(rows, pooled(rows))[np.triu_indices(12, k=1)] for rows in boards])
    assert 0.03 < (p < 0.05).mean() < 0.06


def test_seeds_of_one_recipe_differ_in_five_of_a_hundred_pairs():
    """The A/A test: single seeds of a row, with what the seeds of other rows say."""
    rng = np.random.default_rng(8)
    found = []
    for _ in range(60):
        others = pooled(simulated(rng, 11, 3, 6.0))
        scores = rng.normal(300, 150, N) + rng.normal(0, 6.0, (3, 1)) + rng.normal(0, 30.0, (3, N))
        singles = [Sample(one, np.array([one.mean()])) for one in scores]
        found += (pairwise_p(singles, others)[np.triu_indices(3, k=1)] < 0.05).tolist()
    assert 0.01 < np.mean(found) < 0.09


def test_without_the_seeds_equal_rows_would_differ_all_the_time():
    """What the choice of images alone says of single seeds: it takes their luck for a difference."""
    rng = np.random.default_rng(0)
    pairs = [simulated(rng, 2, 1, 20.0, recipe=0) for _ in range(200)]
    assert np.mean([pairwise_p(pair, UNKNOWN)[0, 1] < 0.05 for pair in pairs]) > 0.5
    assert not compare(*pairs[0], UNKNOWN).seeds_counted


def test_power_grows_with_the_difference():
    rng = np.random.default_rng(1)
    rates = []
    for gain in (0, 15, 40):
        p = []
        for _ in range(100):
            first, second, *others = simulated(rng, 6, 3, 6.0)
            seeds = pooled([first, second, *others])
            p.append(pairwise_p([Sample(first.scores + gain, first.seeds + gain), second], seeds)[0, 1])
        rates.append(np.mean(np.array(p) < 0.05))
    assert rates[0] < 0.1 < 0.4 < rates[1] < rates[2]
    assert rates[2] > 0.99


def test_two_rows_by_hand():
    """Image differences 1, 2, 3, 6 and seeds 10, 14 and 8, 12, 13; a third row has the seeds 1, 3."""
    first = Sample(np.array([3.0, 2.0, 5.0, 8.0]), np.array([10.0, 14.0]))
    second = Sample(np.array([2.0, 0.0, 2.0, 2.0]), np.array([8.0, 12.0, 13.0]))
    known = pooled([first, second, Sample(np.zeros(4), np.array([1.0, 3.0]))])
    assert known == SeedVariance((8 + 14 + 2) / 4, 4)
    images, seeds = 14 / 3 / 4, 6 * (1 / 2 + 1 / 3)  # 14 = 4 + 1 + 0 + 9 about the mean 3
    freedom = (images + seeds) ** 2 / (images**2 / 3 + seeds**2 / 4)
    half = critical(np.array(freedom)) * np.sqrt(images + seeds)
    found = compare(first, second, known)
    assert (found.difference, found.low, found.high) == pytest.approx((3, 3 - half, 3 + half))
    assert found.seeds_counted
    swapped = compare(second, first, known)
    assert (swapped.low, swapped.high, swapped.p) == pytest.approx((-found.high, -found.low, found.p))
    assert pairwise_p([first, second], known)[0, 1] == pytest.approx(found.p)
    assert smallest_differences([first, second], known)[0, 1] == pytest.approx(half)


def test_the_interval_and_p_agree():
    """At the level whose interval ends at zero p is 5 %."""
    rows = simulated(np.random.default_rng(2), 2, 3, 6.0)
    found = compare(*rows, pooled(rows))
    moved = compare(Sample(rows[0].scores - found.low, rows[0].seeds), rows[1], pooled(rows))
    assert (moved.low, moved.p) == pytest.approx((0, 0.05), abs=1e-9)


def test_a_single_seed_weighs_like_one_of_three():
    rows = simulated(np.random.default_rng(3), 2, 3, 6.0)
    seeds = pooled(rows)
    widths = [
        np.diff((found.low, found.high))[0]
        for found in (compare(Sample(rows[0].scores, rows[0].seeds[:n]), rows[1], seeds) for n in (1, 2, 3))
    ]
    assert widths[0] > widths[1] > widths[2]


def test_what_is_not_trained_has_no_chance_of_seeds():
    scores = np.random.default_rng(4).normal(300, 100, N)
    untrained = Sample(scores, np.array([scores.mean()]), drawn=False)
    assert compare(untrained, Sample(scores + 1, untrained.seeds + 1, drawn=False), UNKNOWN).seeds_counted
    rows = simulated(np.random.default_rng(5), 2, 3, 6.0)
    assert pooled([untrained, *rows]) == pooled(rows)
    found = compare(rows[0], untrained, pooled(rows))
    once = compare(rows[0], Sample(untrained.scores, untrained.seeds), pooled(rows))
    assert found.high - found.low < once.high - once.low  # 1/3 of the variance of seeds, not 1/3 + 1


def test_equal_rows_do_not_differ_and_a_difference_on_every_image_is_sure():
    sample = Sample(np.random.default_rng(0).random(100), np.array([0.5]))
    assert compare(sample, sample, UNKNOWN).p == 1
    assert compare(Sample(sample.scores + 1, sample.seeds), sample, UNKNOWN).p == 0
    alone = Sample(np.array([3.0]), np.array([3.0]))  # a single image
    assert compare(alone, alone, UNKNOWN).p == 1


def test_unpaired_scores_are_refused():
    with pytest.raises(ValueError, match="cannot be paired"):
        compare(Sample(np.zeros(3), np.zeros(1)), Sample(np.zeros(4), np.zeros(1)), UNKNOWN)


def test_the_interval_of_a_mean():
    scores = np.array([1.0, 2.0, 3.0, 6.0])
    seeds = SeedVariance(2.0, 5)
    images, share = 14 / 3 / 4, 2 / 2
    freedom = (images + share) ** 2 / (images**2 / 3 + share**2 / 5)
    half = critical(np.array(freedom)) * np.sqrt(images + share)
    alone = critical(np.array(3.0)) * np.sqrt(images)
    drawn, fixed = Sample(scores, np.array([2.0, 4.0])), Sample(scores, np.array([3.0]), drawn=False)
    np.testing.assert_allclose(intervals([drawn, fixed], seeds), [[3 - half, 3 + half], [3 - alone, 3 + alone]])


def test_holm_known_answers():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.5, 0.6])), [1, 1])
    np.testing.assert_allclose(holm(np.array([0.02])), [0.02])
    assert holm(np.array([])).shape == (0,)


def board(means, rng):
    base = rng.normal(300, 100, N)
    return [
        Sample(scores, scores.mean() + np.array([-1.0, 0.0, 1.0]))
        for scores in (base + mean + rng.normal(0, 30, N) for mean in means)
    ]


def test_ranks_are_intervals_and_letters_say_the_same():
    samples = board([60, 30, 29, 0], np.random.default_rng(6))
    differ = significant(samples, pooled(samples))
    means = np.array([s.scores.mean() for s in samples])
    assert rank_spans(means, differ) == [Span(1, 1), Span(2, 3), Span(2, 3), Span(4, 4)]
    assert letters(differ) == ["a", "b", "b", "c"]
    assert (rank_spans(means[:1], differ[:1, :1]), letters(differ[:1, :1])) == ([Span(1, 1)], ["a"])
    assert significant(samples[:1], UNKNOWN).tolist() == [[False]]


def test_rows_in_between_have_letters_of_both_sides():
    differ = np.zeros((3, 3), dtype=bool)
    differ[0, 2] = differ[2, 0] = True
    assert letters(differ) == ["a", "a b", "b"]
    assert rank_spans(np.array([3.0, 2.0, 1.0]), differ) == [Span(1, 2), Span(1, 3), Span(2, 3)]


@pytest.mark.parametrize("seed", range(5))
def test_two_rows_share_a_letter_if_and_only_if_they_do_not_differ(seed):
    differ = np.triu(np.random.default_rng(seed).random((30, 30)) < 0.1 * (seed + 1), k=1)
    differ |= differ.T
    held = [set(names.split()) for names in letters(differ)]
    for i in range(30):
        assert held[i]
        for j in range(i):
            assert bool(held[i] & held[j]) != differ[i, j]


def test_after_z_come_two_letters():
    names = letters(~np.eye(30, dtype=bool))
    assert names[24:28] == ["y", "z", "aa", "ab"]
