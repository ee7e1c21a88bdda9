"""Node-level matching of the regions of images and the words of captions (GSMN, section 3.2), all pairs at once.

A context vector, the attention-weighted sum of the other side's nodes, is never formed: cut into blocks, its product
with the query is the weighted sum of block similarities, and its squared norm is wᵀ G w with G the block Gram matrix
of the other side. Pairs lie in the trailing axes, images last, so that every sum runs over an outer axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from methods.base import Ragged

NEGATIVE_SLOPE = 0.1
NORM_EPSILON = 1e-8


@dataclass(frozen=True)
class Nodes:
    """The nodes of n items. features: (n, N, d), zero where not valid. valid: (n, N) bool, at least one per item."""

    features: Tensor
    valid: Tensor

    @classmethod
    def gather(cls, ragged: Ragged, rows: Tensor | None = None) -> Nodes:
        """The items `rows` (all where None) of flat values (sum of lengths, d), padded to the longest of them."""
        return cls(*gather_rows(ragged, rows))


def gather_rows(ragged: Ragged, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(m, longest, ...) values of the items `rows`, zero behind their lengths, and (m, longest) bool: which are valid.

    rows: (m,) int64, in any order; None = all.
    """
    lengths = ragged.lengths if rows is None else ragged.lengths[rows]
    starts = ragged.offsets[:-1] if rows is None else ragged.offsets[rows]
    place = torch.arange(int(lengths.max()), device=lengths.device)
    valid = place < lengths[:, None]
    values = ragged.values.new_zeros(*valid.shape, *ragged.values.shape[1:])
    values[valid] = ragged.values[(starts[:, None] + place)[valid]]
    return values, valid


def match_nodes(regions: Nodes, words: Nodes, blocks: int, inverse_temperature: float) -> tuple[Tensor, Tensor]:
    """Matching vectors of every region with every caption and of every word with every image: cosines per block.

    regions: I images with N regions, words: T captions with L words, both l2-normalised, d divisible by `blocks`.
    Returns (blocks, T, N, I) for the visual and (blocks, T, L, I) for the textual graph; what stands at padded queries
    has no meaning.
    """
    region_blocks = _split(regions.features, blocks)  # (I, b, N, d/b)
    word_blocks = _split(words.features, blocks)  # (T, b, L, d/b)
    similarity = _block_similarity(word_blocks, region_blocks)  # (b, T, L, N, I)
    to_words, to_regions = _attention(similarity.sum(0), regions.valid, words.valid, inverse_temperature)
    region_gram, word_gram = _gram(region_blocks), _gram(word_blocks)  # (I, b, N, N), (T, b, L, L)
    visual = _cosine(
        (similarity * to_words).sum(2),  # (b, T, N, I)
        region_gram.diagonal(dim1=2, dim2=3).permute(1, 2, 0).unsqueeze(1),  # (b, 1, N, I)
        _word_context_norms(word_gram, to_words),
    )
    textual = _cosine(
        (similarity * to_regions).sum(3),  # (b, T, L, I)
        word_gram.diagonal(dim1=2, dim2=3).permute(1, 0, 2).unsqueeze(3),  # (b, T, L, 1)
        _region_context_norms(region_gram, to_regions),
    )
    return visual, textual


def _split(features: Tensor, blocks: int) -> Tensor:
    """(n, N, d) -> (n, blocks, N, d/blocks)."""
    return features.unflatten(2, (blocks, -1)).transpose(1, 2)


def _gram(blocks: Tensor) -> Tensor:
    """(n, b, N, d/b) -> (n, b, N, N)."""
    return blocks @ blocks.transpose(2, 3)


def _block_similarity(words: Tensor, regions: Tensor) -> Tensor:
    """(T, b, L, d/b), (I, b, N, d/b) -> (b, T, L, N, I)."""
    n_texts, blocks, n_words, width = words.shape
    n_images, n_regions = regions.shape[0], regions.shape[2]
    left = words.transpose(0, 1).reshape(blocks, n_texts * n_words, width)
    right = regions.permute(1, 3, 2, 0).reshape(blocks, width, n_regions * n_images)
    return torch.bmm(left, right).view(blocks, n_texts, n_words, n_regions, n_images)


def _attention(
    similarity: Tensor, regions_valid: Tensor, words_valid: Tensor, inverse_temperature: float
) -> tuple[Tensor, Tensor]:
    """(T, L, N, I) similarities -> the regions' attention to words and the words' to regions, each (T, L, N, I).

    Similarities are normalised over the queries before the softmax over the context, as SCAN does.
    """
    activated = torch.nn.functional.leaky_relu(similarity, NEGATIVE_SLOPE)
    per_word = activated / (activated.norm(dim=2, keepdim=True) + NORM_EPSILON)
    per_region = activated / (activated.norm(dim=1, keepdim=True) + NORM_EPSILON)
    to_words = per_word.masked_fill(~words_valid[:, :, None, None], -torch.inf)
    to_regions = per_region.masked_fill(~regions_valid.T, -torch.inf)
    return (inverse_temperature * to_words).softmax(1), (inverse_temperature * to_regions).softmax(2)


def _word_context_norms(gram: Tensor, attention: Tensor) -> Tensor:
    """Squared block norms of the regions' contexts. (T, b, L, L), (T, L, N, I) -> (b, T, N, I)."""
    norms = _quadratic_form(gram, attention.flatten(2))  # (T, b, N·I)
    return norms.unflatten(2, attention.shape[2:]).transpose(0, 1)


def _region_context_norms(gram: Tensor, attention: Tensor) -> Tensor:
    """Squared block norms of the words' contexts. (I, b, N, N), (T, L, N, I) -> (b, T, L, I)."""
    norms = _quadratic_form(gram, attention.permute(3, 2, 0, 1).flatten(2))  # (I, b, T·L)
    return norms.unflatten(2, attention.shape[:2]).permute(1, 2, 3, 0)


def _quadratic_form(gram: Tensor, weights: Tensor) -> Tensor:
    """wᵀ G w per block and column. gram: (n, b, C, C), weights: (n, C, Q). Returns (n, b, Q)."""
    products = torch.bmm(gram.flatten(1, 2), weights).unflatten(1, gram.shape[1:3])  # (n, b, C, Q)
    return (products * weights.unsqueeze(1)).sum(2)


def _cosine(products: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """products / max(norm · norm, 1e-8), given squared norms."""
    return products * (first * second).clamp(min=NORM_EPSILON**2).rsqrt()
