"""The hinge loss against its definition, pair by pair."""

import pytest
import torch

from itm_harness.methods.losses.hinge import diagonal, hinge_loss, same_image


def slow_hinge(similarity, positives, margin, hardest):
    n, total = len(similarity), 0.0
    for costs_of in (
        lambda i, j: similarity[i, j] - similarity[i, i],
        lambda i, j: similarity[j, i] - similarity[i, i],
    ):
        for i in range(n):
            masks = [positives[i, j] for j in range(n)]
            costs = [0.0 if masks[j] else max(0.0, margin + float(costs_of(i, j))) for j in range(n)]
            total += max(costs) if hardest else sum(costs)
    return total


@pytest.mark.parametrize("hardest", [True, False])
@pytest.mark.parametrize("mask", [diagonal, same_image])
def test_hinge_loss_equals_its_definition(hardest, mask):
    similarity = torch.rand(7, 7, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([0, 1, 2, 1, 3, 4, 0])
    expected = slow_hinge(similarity, mask(ids), 0.2, hardest)
    assert float(hinge_loss(similarity, mask(ids), 0.2, hardest)) == pytest.approx(expected, rel=1e-5)


def test_perfect_separation_costs_nothing():
    assert float(hinge_loss(torch.eye(5), diagonal(torch.arange(5)))) == 0.0


def test_masks():
    ids = torch.tensor([4, 7, 4])
    assert same_image(ids).tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    assert diagonal(ids).tolist() == torch.eye(3).bool().tolist()
