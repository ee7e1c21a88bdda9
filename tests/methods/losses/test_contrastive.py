"""The losses on single entities, against loops over images, captions and entities."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from itm_harness.methods.losses.contrastive import joint_contrastive_loss, own_candidates, row_losses, specificity_loss

OWNER = torch.tensor([0, 0, 1, 3, 3, 3])  # row 2 has no entity


def embeddings(spread=0.3):
    """Four images, their captions and six entities in double precision, not far from each other."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.randn(5, generator=generator, dtype=torch.float64)
    draw = [torch.randn(n, 5, generator=generator, dtype=torch.float64) for n in (4, 4, 6)]
    return [normalize(centre + spread * values, dim=1).requires_grad_() for values in draw]


def share(positive, negatives, epsilon, highest):
    """−log of a positive's share against the negatives; all relative to the row's highest logit."""
    scaled = [math.exp(value - highest) for value in negatives]
    own = math.exp(positive - highest)
    return -math.log(own / (own + sum(scaled) + epsilon))


def contrastive_by_loops(image, text, entities, owner, temperature):
    candidates = [(text[i], i) for i in range(len(text))] + [(e, int(o)) for e, o in zip(entities, owner, strict=True)]
    logits = [[(v @ c).item() / temperature for c, _ in candidates] for v in image]
    of_images = []
    for i in range(len(image)):
        own = [logits[i][k] for k, (_, row) in enumerate(candidates) if row == i]
        others = [logits[i][k] for k, (_, row) in enumerate(candidates) if row != i]
        of_images.append(sum(share(p, others, 1e-9, max(logits[i])) for p in own) / len(own))
    of_candidates = []
    for k, (_, row) in enumerate(candidates):
        column = [logits[i][k] for i in range(len(image))]
        others = [value for i, value in enumerate(column) if i != row]
        of_candidates.append(share(column[row], others, 1e-6, max(column)))
    return sum(of_images) / len(of_images) + sum(of_candidates) / len(of_candidates)


@pytest.mark.parametrize("temperature", [0.01, 0.2])
def test_the_contrastive_loss_equals_loops_in_both_directions(temperature):
    image, text, entities = embeddings()
    found = joint_contrastive_loss(image, text, entities, OWNER, temperature).item()
    assert found == pytest.approx(contrastive_by_loops(image, text, entities, OWNER, temperature), rel=1e-9)


def test_without_entities_captions_alone_are_candidates():
    image, text, _ = embeddings()
    none = torch.empty(0, dtype=torch.int64)
    found = joint_contrastive_loss(image, text, text[:0], none, 0.1).item()
    logits = image @ text.T / 0.1
    both = (
        torch.nn.functional.cross_entropy(logits, torch.arange(4)),
        torch.nn.functional.cross_entropy(logits.T, torch.arange(4)),
    )
    assert found == pytest.approx(sum(both).item(), rel=1e-5)


def test_other_positives_are_not_in_the_denominator():
    """Two positives ahead of one negative: each is compared with the negative alone."""
    logits = torch.tensor([[2.0, 3.0, 1.0]], dtype=torch.float64)
    positives = torch.tensor([[True, True, False]])
    wanted = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2))) / 2
    assert row_losses(logits, positives, 0.0).item() == pytest.approx(wanted)


def test_epsilon_counts_relative_to_the_highest_logit():
    """A positive 50 ahead: the other positive's share is held against 1e-9 rather than against e^-60."""
    logits = torch.tensor([[50.0, 0.0, -10.0]], dtype=torch.float64)
    positives = torch.tensor([[True, True, False]])
    behind = 50 + math.log(math.exp(-50) + math.exp(-60) + 1e-9)
    assert row_losses(logits, positives, 1e-9).item() == pytest.approx(behind / 2, rel=1e-6)


def test_distant_logits_stay_finite_in_float32():
    image, candidates = torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0], [-1.0]])
    wrong = joint_contrastive_loss(image, candidates.flip(0), candidates[:0], torch.empty(0, dtype=torch.int64))
    assert wrong.item() == pytest.approx(400)  # 200 in each direction, at temperature 0.01


def test_gradients():
    image, text, entities = embeddings()
    assert torch.autograd.gradcheck(
        lambda v, t, e: joint_contrastive_loss(v, t, e, OWNER, 0.1), (image, text, entities)
    )
    assert torch.autograd.gradcheck(lambda v, t, e: specificity_loss(v, t, e, OWNER), (image, text, entities))


def test_candidates_of_a_row():
    assert own_candidates(2, torch.tensor([1, 0, 1])).tolist() == [
        [True, False, False, True, False],
        [False, True, True, False, True],
    ]


def test_specificity_is_the_mean_over_pairs_of_image_and_own_entity():
    image, text, entities = embeddings(spread=1.0)
    costs = [
        max(0.0, (image[row] @ entity).item() + 0.15 - (image[row] @ text[row]).item())
        for entity, row in zip(entities, OWNER.tolist(), strict=True)
    ]
    assert 0 < costs.count(0.0) < len(costs)
    assert specificity_loss(image, text, entities, OWNER).item() == pytest.approx(sum(costs) / len(costs))
    assert specificity_loss(image, text, entities, OWNER, margin=0.5) > specificity_loss(image, text, entities, OWNER)


def test_specificity_of_no_entity_is_not_a_number():
    image, text, _ = embeddings()
    assert specificity_loss(image, text, text[:0], torch.empty(0, dtype=torch.int64)).isnan()
