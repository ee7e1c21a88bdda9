"""Similarity of two sets of fragments: a coding of their products, then a pooling (Pan et al., CHAN, CVPR 2023).

The released VSSR carries these and uses none of them in its loss or score; here they are an option. All in float32,
outside autocast.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from itm_harness.methods.config import CodingName, CodingPooling
from itm_harness.methods.defaults import CODING_TEMPERATURE
from itm_harness.methods.encoders.text_encoders import valid_positions
from itm_harness.methods.parts.encoded import Ragged

MASKED = -1.0  # what a coding holds at padded slots
NORM_EPSILON = 1e-8

PRODUCTS = 2**24  # of fragments that are held at once, at most


@dataclass(frozen=True)
class FragmentSimilarity:
    """Regions with words or entities: a coding and a pooling, with their temperatures."""

    coding: CodingName
    pooling: CodingPooling = "max"
    coding_temperature: float = CODING_TEMPERATURE
    pooling_temperature: float = CODING_TEMPERATURE

    def __call__(self, regions: Tensor, words: Tensor, region_lengths: Tensor, word_lengths: Tensor) -> Tensor:
        """(I, N, d) and (T, L, d), l2-normalised, with (I,) and (T,) lengths of at least 1 -> (I, T) in float32."""
        region_valid = valid_positions(region_lengths, regions.shape[1])
        word_valid = valid_positions(word_lengths, words.shape[1])
        with torch.autocast(regions.device.type, enabled=False):
            codes, valid = coded(
                regions.float(), words.float(), region_valid, word_valid, self.coding, self.coding_temperature
            )
            return pooled(codes, valid, self.pooling, self.pooling_temperature)

    def of_galleries(self, regions: Ragged, words: Ragged) -> Tensor:
        """(n_images, n_texts), for so many texts at a time that not too many products are held."""
        padded, n_texts = regions.padded(), len(words.lengths)
        size = max(PRODUCTS // (padded.shape[0] * padded.shape[1] * int(words.lengths.max())), 1)
        parts = [words[start : min(start + size, n_texts)] for start in range(0, n_texts, size)]
        return torch.cat([self(padded, part.padded(), regions.lengths, part.lengths) for part in parts], dim=1)


def coded(
    regions: Tensor,
    words: Tensor,
    region_valid: Tensor,
    word_valid: Tensor,
    coding: CodingName,
    temperature: float = CODING_TEMPERATURE,
) -> tuple[Tensor, Tensor]:
    """Codes of every image with every caption, (I, T, K), −1 at padded slots, and which are valid, (I or 1, T or 1, K).

    regions: (I, N, d), words: (T, L, d), both l2-normalised, with (I, N) and (T, L) bool masks; at least one valid
    each. coding: vha: largest region per word, K = L. tha: largest word per region, K = N. vsa: cosine of each region
    with the words that it attends to, K = N; temperature: of that attention.
    """
    products = (regions.flatten(0, 1) @ words.flatten(0, 1).T).unflatten(0, regions.shape[:2])
    products = products.unflatten(2, words.shape[:2])  # (I, N, T, L)
    valid = region_valid[:, :, None, None] & word_valid
    if coding == "vha":
        return products.masked_fill(~valid, MASKED).amax(dim=1), word_valid[None]
    if coding == "tha":
        codes = products.masked_fill(~valid, MASKED).amax(dim=3)  # (I, N, T)
    else:
        codes = _attended(products, words, word_valid, temperature)
    by_region = region_valid[:, None]
    return codes.transpose(1, 2).masked_fill(~by_region, MASKED), by_region


def _attended(products: Tensor, words: Tensor, word_valid: Tensor, temperature: float) -> Tensor:
    """Cosine of each region with its context, the words weighted by their softmax: (I, N, T).

    A context is never formed: its norm comes from the captions' Gram matrices.
    """
    attention = (products / temperature).masked_fill(~word_valid, -torch.inf).softmax(dim=3)  # (I, N, T, L)
    gram = words @ words.mT  # (T, L, L)
    squared = (torch.einsum("intk,tkl->intl", attention, gram) * attention).sum(dim=3)
    return (attention * products).sum(dim=3) * squared.clamp(min=NORM_EPSILON**2).rsqrt()


def pooled(codes: Tensor, valid: Tensor, pooling: CodingPooling, temperature: float = CODING_TEMPERATURE) -> Tensor:
    """One similarity per pair, (I, T), over the valid codes.

    codes: (I, T, K), valid: broadcastable to it. temperature: of softmax and lse; lse, the logarithm of the sum of
    exponentials, is not scaled back by it, as released.
    """
    if pooling == "max":
        return codes.amax(dim=2)
    if pooling == "lse":
        return (codes / temperature).masked_fill(~valid, -torch.inf).logsumexp(dim=2)
    if pooling == "softmax":
        share = (codes / temperature).masked_fill(~valid, -torch.inf).softmax(dim=2)
        return (share * codes).sum(dim=2)
    total = codes.masked_fill(~valid, 0).sum(dim=2)
    return total / valid.sum(dim=2) if pooling == "mean" else total
