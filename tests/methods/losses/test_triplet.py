"""The distance-weighted triplet loss against recorded numbers, a loop, and its sampling against its weights."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from itm_harness.methods.losses.hinge import same_image
from itm_harness.methods.losses.triplet import (
    TripletLoss,
    draw_negatives,
    largest_weights,
    sampling_weights,
    triplet_loss,
)
from itm_tests.places import GOLDEN
from itm_tests.waits import Waits

CASE = GOLDEN / "hrem" / "triplet-loss"
SPEC = json.loads((CASE / "case.json").read_text())


def recorder(calls):
    """A choice by the largest weight that keeps what it was given and what it answered."""

    def choose(weights):
        calls.append((weights, largest_weights(weights)))
        return calls[-1][1]

    return choose


@pytest.mark.parametrize("dataset", ["f30k", "coco"])
@pytest.mark.parametrize("name", SPEC["config"]["sets"])
def test_weights_choices_loss_and_gradients_are_the_recorded_ones(name, dataset):
    inputs, expected = np.load(CASE / "inputs.npz"), np.load(CASE / "expected.npz")
    image = torch.tensor(inputs[f"{name}/img_emb"], requires_grad=True)
    text = torch.tensor(inputs[f"{name}/txt_emb"], requires_grad=True)
    positives = same_image(torch.tensor(inputs[f"{name}/img_ids"]))
    calls = []
    loss = triplet_loss(image @ text.T, positives, SPEC["config"]["cutoff"][dataset], recorder(calls))
    loss.backward()
    found = {"loss": loss.detach(), "grad_img": image.grad, "grad_txt": text.grad}
    for k, (weights, chosen) in enumerate(calls):
        found |= {f"weight{k}": weights, f"neg{k}": chosen}
    assert len(found) == 7
    for key, value in found.items():
        full = f"{name}/{dataset}/{key}"
        np.testing.assert_allclose(value, expected[full], rtol=0, atol=SPEC["atol"][full], err_msg=full)


def weight_of(similarity, i, j, positives, cutoff):
    """log w of one pair, in float32, written out from the definition."""
    if positives[i, j]:
        return 0.0, False
    distance = max(math.sqrt(max(2 - 2 * similarity[i, j].item(), 0)), 0.5)
    beyond = 1 - distance**2 / 4
    return (-510 * math.log(distance) - 509 / 2 * math.log(beyond)) if beyond > 0 else 0.0, distance < cutoff


def test_weights_equal_a_loop_over_pairs():
    torch.manual_seed(0)
    similarity = normalize(torch.randn(7, 64)) @ normalize(torch.randn(7, 64)).T
    positives = same_image(torch.tensor([0, 1, 2, 1, 3, 3, 3]))
    wanted = torch.zeros(7, 7)
    for i in range(7):
        logs = [weight_of(similarity, i, j, positives, 1.42) for j in range(7)]
        top = max(log for log, _ in logs)
        raw = [math.exp(log - top) if admissible else 0.0 for log, admissible in logs]
        wanted[i] = torch.tensor(raw) / (sum(raw) + 1e-20)
    assert (wanted == 0).sum() > 20
    torch.testing.assert_close(sampling_weights(similarity, positives, 1.42), wanted, rtol=5e-4, atol=1e-6)


def test_a_cosine_above_one_is_no_negative_and_no_nan():
    similarity = torch.tensor([[1.0, 1.0 + 1e-6, 0.2], [0.0, 1.0, 0.1], [0.3, 0.0, 1.0]])
    weights = sampling_weights(similarity, torch.eye(3, dtype=torch.bool), 1.7)
    assert weights.isfinite().all()
    assert weights[0, 1] == 0


def test_an_opposite_negative_takes_the_weight_of_its_row_and_the_loss_of_the_batch():
    """A negative at distance 1.99999 has log w far above the others: they underflow, in both directions."""
    similarity = torch.tensor([[1.0, -0.99999, 0.2], [0.1, 1.0, 0.1], [0.3, 0.95, 1.0]], requires_grad=True)
    positives = torch.eye(3, dtype=torch.bool)
    weights = sampling_weights(similarity.detach(), positives, 1.7)
    assert weights[0].tolist() == [0, 0, 0]
    assert weights[2, 1] == 1  # violates the margin, and yet:
    loss = triplet_loss(similarity, positives, 1.7, largest_weights)
    loss.backward()
    assert loss == 0
    assert (similarity.grad == 0).all()


def test_choices_fail_together():
    weights = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    assert draw_negatives(weights).tolist() == largest_weights(weights).tolist() == [-1, -1]


def test_negatives_are_drawn_in_proportion_even_from_rows_that_nearly_underflow():
    torch.manual_seed(0)
    row = torch.tensor([0.0, 1.0, 3.0, 0.0])
    for scale in (1.0, 1e-30):
        drawn = draw_negatives((row * scale).expand(20_000, -1))
        share = torch.bincount(drawn, minlength=4) / 20_000
        torch.testing.assert_close(share, row / 4, rtol=0, atol=0.02)


def test_draws_are_those_of_multinomial():
    torch.manual_seed(0)
    weights = torch.rand(300, 40) * (torch.rand(300, 40) < 0.3)
    weights[:, 7] = 0.2
    torch.manual_seed(1)
    drawn, after = draw_negatives(weights), torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.multinomial(weights / weights.amax(dim=1, keepdim=True), 1).squeeze(1))
    assert torch.equal(after, torch.get_rng_state())


def test_one_loss_serves_all_similarities_of_a_batch():
    torch.manual_seed(0)
    positives = same_image(torch.tensor([4, 4, 9, 2, 9]))
    loss = TripletLoss(positives, 1.9, largest_weights)
    for _ in range(3):
        similarity = normalize(torch.randn(5, 8)) @ normalize(torch.randn(5, 8)).T
        assert loss(similarity) == triplet_loss(similarity, positives, 1.9, largest_weights)


def test_a_batch_waits_for_the_device_once_to_list_its_pairs():
    loss = TripletLoss(same_image(torch.tensor([4, 4, 9, 2, 9])), 1.9)
    with Waits() as waits:
        for seed in range(4):
            torch.manual_seed(seed)
            image = normalize(torch.randn(5, 8)).requires_grad_()
            loss(image @ normalize(torch.randn(5, 8)).T).backward()
    assert waits.found == ["nonzero"]


def test_all_pairs_of_one_image_are_positives_and_counted_once_each():
    similarity = torch.tensor([[0.9, 0.5, 0.8], [0.4, 0.7, 0.6], [0.3, 0.3, 0.9]])
    positives = same_image(torch.tensor([4, 4, 9]))
    images = [0.2 + 0.8 - 0.9, 0.2 + 0.8 - 0.5, 0.2 + 0.6 - 0.4, 0.2 + 0.6 - 0.7, 0]
    captions = [0, 0.2 + 0.3 - 0.4, 0.2 + 0.3 - 0.5, 0, 0.2 + 0.8 - 0.9]
    wanted = sum(images + captions)
    assert triplet_loss(similarity, positives, 1.9, largest_weights).item() == pytest.approx(wanted, abs=1e-6)


def test_no_gradient_through_the_weights():
    torch.manual_seed(1)
    similarity = (normalize(torch.randn(6, 16)) @ normalize(torch.randn(6, 16)).T).double().requires_grad_()
    positives = torch.eye(6, dtype=torch.bool)
    chosen = torch.tensor([1, 2, 3, 4, 5, 0])
    assert torch.autograd.gradcheck(lambda s: triplet_loss(s, positives, 1.9, lambda _: chosen), similarity)


def test_nan_similarities_give_a_nan_loss_so_that_the_step_is_skipped():
    similarity = torch.full((3, 3), math.nan)
    assert triplet_loss(similarity, torch.eye(3, dtype=torch.bool), 1.7).isnan()
