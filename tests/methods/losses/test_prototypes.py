"""Balanced assignments and swapped prediction: properties, a slow reference, recorded numbers."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from itm_harness.methods.losses.prototypes import sinkhorn, swapped_prediction
from itm_tests.places import GOLDEN

CASES = GOLDEN / "aahr" / "bert" / "expected.npz"


def scores(n=6, k=4):
    torch.manual_seed(0)
    return torch.rand(n, k)


def looped(values, epsilon, iterations):
    """Entry by entry, prototypes in rows, as SwAV writes it."""
    q = np.exp(values.double().numpy() / epsilon).T  # (K, B)
    q /= q.sum()
    for _ in range(iterations):
        for row in q:
            row /= row.sum() * len(q)
        for column in q.T:
            column /= column.sum() * q.shape[1]
    return torch.from_numpy(q.T * q.shape[1]).float()


@pytest.mark.parametrize("iterations", [1, 3])
def test_assignments_equal_the_looped_ones(iterations):
    torch.testing.assert_close(sinkhorn(scores(), 0.1, iterations), looped(scores(), 0.1, iterations))


def test_rows_sum_to_one_and_in_the_limit_every_prototype_is_used_equally():
    found = sinkhorn(scores(), 0.1, 200)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(6))
    torch.testing.assert_close(found.sum(dim=0), torch.full((4,), 6 / 4))
    torch.testing.assert_close(sinkhorn(scores(), 0.1).sum(dim=1), torch.ones(6))


def test_equal_scores_are_shared_equally():
    torch.testing.assert_close(sinkhorn(torch.full((3, 5), 0.7), 0.1), torch.full((3, 5), 1 / 5))


@pytest.mark.parametrize("side", ["img", "txt"])
def test_recorded_assignments(side):
    with np.load(CASES) as expected:
        given, wanted = (torch.from_numpy(expected[f"swav/{side}_{name}"]) for name in ("scores", "q"))
    torch.testing.assert_close(sinkhorn(given, 0.1), wanted, rtol=0, atol=3e-6)


def test_each_side_predicts_the_assignments_of_the_other():
    torch.manual_seed(0)
    image, text, prototypes = (normalize(torch.randn(n, 6), dim=1) for n in (5, 5, 3))
    image_scores, text_scores = image @ prototypes.T, text @ prototypes.T
    wanted = 0.0
    for own, other in ((image_scores, text_scores), (text_scores, image_scores)):
        assigned, predicted = looped(other, 0.05, 3), (own / 0.1).softmax(dim=1)
        wanted -= sum(float(q @ p.log()) for q, p in zip(assigned, predicted, strict=True)) / 5
    found = swapped_prediction(image, text, prototypes, 0.05, 0.1)
    assert found.item() == pytest.approx(wanted, rel=1e-5)


def test_assignments_are_targets_and_carry_no_gradient():
    values = scores().requires_grad_()
    assert not sinkhorn(values, 0.1).requires_grad
    image = torch.randn(4, 3, requires_grad=True)
    swapped_prediction(image, torch.randn(4, 3), torch.randn(2, 3), 0.1, 0.1).backward()
    assert image.grad.abs().sum() > 0
