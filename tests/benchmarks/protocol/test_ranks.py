"""The protocol against a slow reference, known answers and properties."""

import numpy as np
import pytest
import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol.ranks import (
    count_passing,
    direction_metrics,
    ensemble,
    evaluate_matrix,
    rank_matrix,
    top_items,
)


def slow_ranks(similarity, image_of_text):
    """Worst rank and number of ties, one query at a time."""
    i2t, i2t_ties, t2i, t2i_ties = [], [], [], []
    for image, row in enumerate(similarity):
        own = row[image_of_text == image].max()
        wrong = row[image_of_text != image]
        i2t.append(int((wrong >= own).sum()))
        i2t_ties.append(int((wrong == own).sum()))
    for text, image in enumerate(image_of_text):
        wrong = np.delete(similarity[:, text], image)
        t2i.append(int((wrong >= similarity[image, text]).sum()))
        t2i_ties.append(int((wrong == similarity[image, text]).sum()))
    return i2t, t2i, i2t_ties, t2i_ties


@pytest.mark.parametrize("grid", [0, 4])
@pytest.mark.parametrize("chunk", [None, 1, 7, 100])
def test_ranks_equal_the_slow_reference_whatever_the_chunk(grid, chunk):
    rng = np.random.default_rng(grid)
    image_of_text = np.sort(np.concatenate([np.arange(20), rng.integers(0, 20, 50)]))  # 1 caption or more an image
    similarity = rng.standard_normal((20, 70)).astype(np.float32)
    if grid:
        similarity = np.round(similarity * grid) / grid  # many ties
    ranks = rank_matrix(torch.from_numpy(similarity), torch.from_numpy(image_of_text), chunk)
    found = [x.tolist() for x in (ranks.i2t, ranks.t2i, ranks.i2t_ties, ranks.t2i_ties)]
    assert found == [list(x) for x in slow_ranks(similarity, image_of_text)]


def test_a_constant_scorer_ranks_last_and_its_ties_are_counted():
    evaluation = evaluate_matrix(torch.ones(20, 100), torch.arange(100) // 5)
    assert evaluation.rsum == 0.0
    assert evaluation.ranks.i2t.tolist() == [95] * 20
    assert evaluation.ranks.t2i.tolist() == [19] * 100
    assert (evaluation.i2t.ties, evaluation.t2i.ties) == (20, 100)


def test_own_captions_that_tie_with_each_other_cost_nothing():
    similarity = torch.zeros(4, 20).repeat_interleave(1, 0)
    image_of_text = torch.arange(20) // 5
    similarity[image_of_text, torch.arange(20)] = 1.0
    evaluation = evaluate_matrix(similarity, image_of_text)
    assert evaluation.rsum == 600.0
    assert (evaluation.i2t.ties, evaluation.t2i.ties) == (0, 0)


def test_median_is_floored_and_ranks_are_reported_from_one():
    metrics = direction_metrics(torch.tensor([0, 1, 4, 9]))
    assert (metrics.r1, metrics.r5, metrics.r10) == (25.0, 75.0, 100.0)
    assert metrics.median == 3.0  # floor(2.5) + 1
    assert metrics.mean == 4.5


def test_folds_compete_within_themselves_only():
    generator = torch.Generator().manual_seed(1)
    similarity, image_of_text = torch.randn(20, 100, generator=generator), torch.arange(100) // 5
    evaluation = evaluate_matrix(similarity, image_of_text, folds=5)
    parts = [
        evaluate_matrix(similarity[4 * f : 4 * f + 4, 20 * f : 20 * f + 20], torch.arange(20) // 5) for f in range(5)
    ]
    assert evaluation.rsum == pytest.approx(np.mean([p.rsum for p in parts]))
    assert evaluation.ranks.t2i.tolist() == torch.cat([p.ranks.t2i for p in parts]).tolist()
    assert evaluation.ranks.i2t.tolist() == torch.cat([p.ranks.i2t for p in parts]).tolist()


def test_captions_need_not_lie_beside_each_other():
    generator = torch.Generator().manual_seed(2)
    similarity, image_of_text = torch.randn(10, 50, generator=generator), torch.arange(50) // 5
    shuffle = torch.randperm(50, generator=generator)
    plain = evaluate_matrix(similarity, image_of_text, folds=5)
    shuffled = evaluate_matrix(similarity[:, shuffle], image_of_text[shuffle], folds=5)
    assert shuffled.rsum == pytest.approx(plain.rsum)
    assert shuffled.ranks.t2i.tolist() == plain.ranks.t2i[shuffle].tolist()


def test_permuting_the_gallery_permutes_the_ranks():
    generator = torch.Generator().manual_seed(3)
    similarity, image_of_text = torch.randn(12, 60, generator=generator), torch.arange(60) // 5
    order = torch.randperm(12, generator=generator)
    new_position = order.argsort()
    ranks = rank_matrix(similarity, image_of_text)
    permuted = rank_matrix(similarity[order], new_position[image_of_text])
    assert permuted.i2t.tolist() == ranks.i2t[order].tolist()
    assert permuted.t2i.tolist() == ranks.t2i.tolist()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_refused_with_its_row(bad):
    similarity = torch.randn(6, 30, generator=torch.Generator().manual_seed(0))
    similarity[4, 2] = bad
    with pytest.raises(RunError, match="row 4"):
        rank_matrix(similarity, torch.arange(30) // 5, chunk=2)


def test_wrong_shapes_are_refused():
    with pytest.raises(RunError, match="30 columns but there are 25"):
        rank_matrix(torch.zeros(6, 30), torch.arange(25) // 5)
    with pytest.raises(RunError, match="7 rows but the captions belong to 6"):
        rank_matrix(torch.zeros(7, 30), torch.arange(30) // 5)
    with pytest.raises(RunError, match="6 images do not divide into 5"):
        evaluate_matrix(torch.zeros(6, 30), torch.arange(30) // 5, folds=5)


def test_ensemble_is_the_mean_and_leaves_its_members_alone():
    first, second = torch.ones(2, 10), torch.full((2, 10), 4.0)
    assert ensemble([first, second]).tolist() == torch.full((2, 10), 2.5).tolist()
    assert first.unique().tolist() == [1.0]
    with pytest.raises(RunError, match="one shape"):
        ensemble([first, torch.ones(3, 10)])


@pytest.mark.parametrize("flags", [torch.float16, torch.float32])
@pytest.mark.parametrize("dim", [0, 1])
def test_counts_are_exact_far_beyond_what_a_half_can_hold(flags, dim):
    part = torch.arange(5000.0).expand(2, -1) if dim else torch.arange(5000.0)[:, None].expand(-1, 2)
    found = count_passing(torch.ge, part, torch.tensor(951.0), torch.empty(part.shape, dtype=flags), dim)
    assert found.dtype == torch.int64
    assert found.tolist() == [4049, 4049]


def test_top_items_are_the_best_in_order():
    similarity = torch.randn(5, 40, generator=torch.Generator().manual_seed(4))
    indices, scores = top_items(similarity, k=3, chunk=2)
    expected = similarity.argsort(dim=1, descending=True)[:, :3]
    assert indices.tolist() == expected.tolist()
    assert torch.equal(scores, similarity.gather(1, expected))
    assert torch.equal(top_items(similarity, k=3)[0], indices)
