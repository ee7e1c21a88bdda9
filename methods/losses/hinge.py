"""Losses on a batch's similarity matrix. All are computed in float32, outside autocast."""

import torch
from torch import Tensor

from itm_harness.methods.defaults import MARGIN


def hinge_loss(similarity: Tensor, positives: Tensor, margin: float = MARGIN, hardest: bool = True) -> Tensor:
    """Bidirectional hinge loss (VSE++, BMVC 2018, eq. 5 and 6), summed over the batch: a scalar.

    Arguments as of `hinge_costs`, whose two directions are added.
    """
    i2t, t2i = hinge_costs(similarity, positives, margin, hardest)
    return i2t + t2i


def hinge_costs(
    similarity: Tensor, positives: Tensor, margin: float = MARGIN, hardest: bool = True
) -> tuple[Tensor, Tensor]:
    """The hinge loss of each direction (image to text, text to image), summed over the batch: two scalars.

    similarity: (B, B) float, image i and caption i belong together. positives: (B, B) bool, entries that are no
    negatives: the diagonal, or every pair of one image ("mask_repeat"). hardest: keep each image's and each caption's
    hardest negative only (max violation); otherwise sum over all negatives.
    """
    own = similarity.diagonal()
    cost_i2t = (margin + similarity - own[:, None]).clamp(min=0).masked_fill(positives, 0)
    cost_t2i = (margin + similarity - own[None, :]).clamp(min=0).masked_fill(positives, 0)
    if hardest:
        return cost_i2t.max(dim=1).values.sum(), cost_t2i.max(dim=0).values.sum()
    return cost_i2t.sum(), cost_t2i.sum()


def same_image(ids: Tensor) -> Tensor:
    """(B, B) bool: which pairs of a batch show the same image. ids: (B,)."""
    return ids[:, None] == ids[None, :]


def diagonal(ids: Tensor) -> Tensor:
    """(B, B) bool: the pairs themselves, for losses that take a second caption of an image for a negative."""
    return torch.eye(len(ids), dtype=torch.bool, device=ids.device)
