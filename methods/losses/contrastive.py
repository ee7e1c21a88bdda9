"""The losses of VSSR in which captions and single entities are an image's candidates. In float32, outside autocast."""

from __future__ import annotations

import torch
from torch import Tensor

from itm_harness.methods.defaults import CONTRASTIVE_TEMPERATURE, SPECIFICITY_MARGIN

IMAGE_EPSILON, CANDIDATE_EPSILON = 1e-9, 1e-6  # beside the denominators, as released


def joint_contrastive_loss(
    image: Tensor, text: Tensor, entities: Tensor, owner: Tensor, temperature: float = CONTRASTIVE_TEMPERATURE
) -> Tensor:
    """Supervised contrastive loss of images with captions and entities together, both directions added: a scalar.

    image, text: (B, d). entities: (M, d) single entities, owner: (M,) int64, the row whose caption names each. An image
    has its caption and that caption's entities as positives; another caption of it, and that one's entities, are
    negatives. The mean is over images, and in the other direction over captions and entities alike.
    """
    logits = image @ torch.cat([text, entities]).T / temperature  # (B, B + M)
    positives = own_candidates(len(image), owner)
    return (
        row_losses(logits, positives, IMAGE_EPSILON).mean()
        + row_losses(logits.T, positives.T, CANDIDATE_EPSILON).mean()
    )


def own_candidates(n: int, owner: Tensor) -> Tensor:
    """(n, n + M) bool: which captions, one per row, and which entities belong to each of n rows. owner: (M,)."""
    rows = torch.arange(n, device=owner.device)
    return rows[:, None] == torch.cat([rows, owner])


def row_losses(logits: Tensor, positives: Tensor, epsilon: float) -> Tensor:
    """Mean over each row's positives of their loss, (rows,). Arguments as of `positive_losses`."""
    return (positive_losses(logits, positives, epsilon) * positives).sum(dim=1) / positives.sum(dim=1)


def positive_losses(logits: Tensor, positives: Tensor, epsilon: float) -> Tensor:
    """−log of each entry's share against its row's negatives, as if the other positives were not there.

    logits, positives: (rows, columns) float and bool. What stands at negatives has no meaning. epsilon counts relative
    to the row's largest exponential: where a positive is far ahead, it bounds what the row's other positives can lose.
    """
    shifted = logits - logits.detach().amax(dim=1, keepdim=True)
    exponentials = shifted.exp()
    negatives = (exponentials * ~positives).sum(dim=1, keepdim=True)
    return (exponentials + negatives + epsilon).log() - shifted


def specificity_loss(
    image: Tensor, text: Tensor, entities: Tensor, owner: Tensor, margin: float = SPECIFICITY_MARGIN
) -> Tensor:
    """An image is closer to its caption than to each of that caption's entities, by `margin`: the mean of what lacks.

    Arguments as of `joint_contrastive_loss`. NaN where there is no entity, as released: the engine skips such a step.
    """
    own_text = (image * text).sum(dim=1)  # (B,)
    own_entity = (image[owner] * entities).sum(dim=1)  # (M,)
    return (own_entity + margin - own_text[owner]).clamp(min=0).mean()
