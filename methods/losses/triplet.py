"""The distance-weighted triplet loss of HREM, AAHR, VSD and VSSR ("trip").

Negatives are drawn so that their distances spread evenly (Wu et al., "Sampling matters in deep embedding learning",
ICCV 2017), as the released HREM computes it: in float32, where one very dissimilar negative makes the weights of all
others underflow to zero. That is part of the published behaviour and kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from itm_harness.methods.defaults import MARGIN

Choice = Callable[[Tensor], Tensor]

DIMENSION = 512  # of the sphere whose distances are evened out: fixed in the released code, whatever embed_size is
NEAREST = 0.5  # closer negatives count as if they were this far away
EPSILON = 1e-20  # beside a row's sum


def triplet_loss(similarity: Tensor, positives: Tensor, cutoff: float, choose: Choice | None = None) -> Tensor:
    """Both directions of the loss, summed over all positive pairs; a scalar.

    similarity: (B, B) float32 cosines, images in rows, outside autocast. positives: (B, B) bool, symmetric: pairs that
    show the same image. cutoff: negatives at this distance or beyond are never drawn. choose: weights (P, B) of one
    row per positive pair -> a column each, −1 where the draw fails; None = `draw_negatives`.
    """
    return TripletLoss(positives, cutoff, choose)(similarity)


class TripletLoss:
    """`triplet_loss` of several similarities of one batch. Arguments as there."""

    def __init__(self, positives: Tensor, cutoff: float, choose: Choice | None = None) -> None:
        self.positives, self.cutoff, self.choose = positives, cutoff, choose or draw_negatives

    def __call__(self, similarity: Tensor) -> Tensor:
        """(B, B) -> a scalar."""
        return self._one_direction(similarity) + self._one_direction(similarity.T)

    @cached_property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """Anchor and positive of each positive pair, (P,) each. Listed once per batch: that waits for the GPU."""
        return self.positives.nonzero(as_tuple=True)

    def _one_direction(self, similarity: Tensor) -> Tensor:
        """Anchors in rows. A failed draw makes the whole direction 0, as released (and NaN if a similarity is)."""
        anchor, positive = self.pairs
        negative = self.choose(sampling_weights(similarity.detach(), self.positives, self.cutoff)[anchor])  # (P,)
        drawn = similarity[anchor, negative.clamp(min=0)]
        loss = (MARGIN + drawn - similarity[anchor, positive]).clamp(min=0).sum()
        return torch.where((negative >= 0).all(), loss, 0 * similarity.sum())


def sampling_weights(similarity: Tensor, positives: Tensor, cutoff: float) -> Tensor:
    """Weight with which each column is drawn as a row's negative, (B, B); rows sum to 1 or underflow.

    The row maximum includes the positives' zeros and negatives beyond the cutoff: where it is far above the admissible
    entries these underflow, and the row sums to less than 1 or to 0.
    """
    distance = (2 - 2 * similarity).sqrt().clamp(min=NEAREST)  # NaN where rounding makes a cosine exceed 1
    log_weight = log_inverse_density(distance) * ~positives
    log_weight = log_weight.masked_fill(~log_weight.isfinite(), 0)
    weight = (log_weight - log_weight.amax(dim=1, keepdim=True)).exp()
    weight = weight * (~positives & (distance < cutoff))
    return weight / (weight.sum(dim=1, keepdim=True) + EPSILON)


def log_inverse_density(distance: Tensor) -> Tensor:
    """−log of the density of distances between random points of the unit sphere in 512 dimensions, unnormalised."""
    return (2 - DIMENSION) * distance.log() - (DIMENSION - 3) / 2 * (1 - distance.square() / 4).log()


def draw_negatives(weights: Tensor) -> Tensor:
    """One column per row, in proportion to its weights; all −1 where some row has none. (P, B) -> (P,) int64.

    A race: each column arrives after an exponential time whose rate is its weight, the first one is drawn. So does
    `torch.multinomial`, with the same random numbers, but it waits for the GPU to check its input.
    """
    largest = weights.amax(dim=1, keepdim=True)
    speed = weights / largest / torch.empty_like(weights).exponential_()  # rescaled: a row may sum to 1e-30
    return torch.where((largest > 0).all(), speed.argmax(dim=1), -1)


def largest_weights(weights: Tensor) -> Tensor:
    """Like `draw_negatives`, with the largest weight (the first of equals) in the place of chance."""
    return torch.where((weights.amax(dim=1) > 0).all(), weights.argmax(dim=1), -1)
