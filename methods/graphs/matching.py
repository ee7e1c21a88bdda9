"""Node-level matching of the regions of images and the words of captions (GSMN, section 3.2), all pairs at once.

A context vector, the attention-weighted sum of the other side's nodes, is never formed: cut into blocks, its product
with the query is the weighted sum of block similarities, and its squared norm is wᵀ G w with G the block Gram matrix
of the other side. Pairs lie in the trailing axes, images last, so that every sum runs over an outer axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from itm_harness.methods.parts.encoded import Ragged

NEGATIVE_SLOPE = 0.1
NORM_EPSILON = 1e-8


@dataclass(frozen=True)
class Nodes:
    """The nodes of n items. features: (n, N, d), zero where not valid. valid: (n, N) bool, at least one per item."""

    features: Tensor
    valid: Tensor

    @classmethod
    def gather(cls, ragged: Ragged, rows: Tensor | None = None, longest: int | None = None) -> Nodes:
        """The items `rows` of flat values (sum of lengths, d), padded to the longest of them; see `gather_rows`."""
        return cls(*gather_rows(ragged, rows, longest))

    def parts(self, sizes: int | list[int]) -> list[Nodes]:
        """Consecutive items, so many in each part."""
        both = zip(self.features.split(sizes), self.valid.split(sizes), strict=True)
        return [Nodes(features, valid) for features, valid in both]

    def __getitem__(self, rows: slice | Tensor | tuple[slice, slice]) -> Nodes:
        """Some items, or some nodes of some items."""
        return Nodes(self.features[rows], self.valid[rows])


def gather_rows(ragged: Ragged, rows: Tensor | None = None, longest: int | None = None) -> tuple[Tensor, Tensor]:
    """(m, longest, ...) values of the items `rows`, zero behind their lengths, and (m, longest) bool: which are valid.

    rows: (m,) int64, in any order; None = all. longest: of their lengths; given, nothing waits for a GPU.
    """
    lengths = ragged.lengths if rows is None else ragged.lengths[rows]
    starts = ragged.offsets[:-1] if rows is None else ragged.offsets[rows]
    place = torch.arange(int(lengths.max()) if longest is None else longest, device=lengths.device)
    valid = place < lengths[:, None]
    values = ragged.values[(starts[:, None] + place).clamp(max=len(ragged.values) - 1)]
    return values.masked_fill_(~valid.view(*valid.shape, *[1] * (values.dim() - 2)), 0), valid


@dataclass(frozen=True)
class Blocks:
    """Nodes cut into b pieces of their width, with what every item of the other side needs of them.

    features: (n, b, N, d/b). gram: (n, b, N, N), products within an item. valid: (n, N) bool.
    """

    features: Tensor
    gram: Tensor
    valid: Tensor

    @classmethod
    def of(cls, nodes: Nodes, blocks: int) -> Blocks:
        """d must be divisible by `blocks`."""
        features = nodes.features.unflatten(2, (blocks, -1)).transpose(1, 2)
        return cls(features, features @ features.transpose(2, 3), nodes.valid)

    @property
    def squared_norms(self) -> Tensor:
        """(n, b, N)."""
        return self.gram.diagonal(dim1=2, dim2=3)

    @cached_property
    def columns(self) -> Tensor:
        """(b, d/b, N·n): all nodes side by side, items last. Kept, because it is a copy of the features."""
        return self.features.permute(1, 3, 2, 0).flatten(2)


def match_nodes(regions: Nodes, words: Nodes, blocks: int, inverse_temperature: float) -> tuple[Tensor, Tensor]:
    """Matching vectors of every region with every caption and of every word with every image: cosines per block.

    regions: I images with N regions, words: T captions with L words, both l2-normalised, d divisible by `blocks`.
    Returns (blocks, T, N, I) for the visual and (blocks, T, L, I) for the textual graph; what stands at padded queries
    has no meaning.
    """
    return match_blocks(Blocks.of(regions, blocks), Blocks.of(words, blocks), inverse_temperature)


def match_blocks(regions: Blocks, words: Blocks, inverse_temperature: float) -> tuple[Tensor, Tensor]:
    """`match_nodes` of nodes that are cut already: images are, once for all chunks of captions."""
    similarity = _block_similarity(words, regions)  # (b, T, L, N, I)
    to_words, to_regions = _attention(similarity.sum(0), regions.valid, words.valid, inverse_temperature)
    visual = _cosine(
        (similarity * to_words).sum(2),  # (b, T, N, I)
        regions.squared_norms.permute(1, 2, 0).unsqueeze(1),  # (b, 1, N, I)
        _word_context_norms(words.gram, to_words),
    )
    textual = _cosine(
        _scaled(similarity, to_regions).sum(3),  # (b, T, L, I); the last use of similarity
        words.squared_norms.permute(1, 0, 2).unsqueeze(3),  # (b, T, L, 1)
        _region_context_norms(regions.gram, to_regions),
    )
    return visual, textual


def _block_similarity(words: Blocks, regions: Blocks) -> Tensor:
    """Dot products per block, (b, T, L, N, I)."""
    n_texts, blocks, n_words, width = words.features.shape
    left = words.features.transpose(0, 1).reshape(blocks, n_texts * n_words, width)
    products = torch.bmm(left, regions.columns)
    return products.view(blocks, n_texts, n_words, regions.valid.shape[1], len(regions.valid))


def _attention(
    similarity: Tensor, regions_valid: Tensor, words_valid: Tensor, inverse_temperature: float
) -> tuple[Tensor, Tensor]:
    """(T, L, N, I) similarities -> the regions' attention to words and the words' to regions, each (T, L, N, I).

    Similarities are normalised over the queries before the softmax over the context, as SCAN does.
    """
    activated = torch.nn.functional.leaky_relu(similarity, NEGATIVE_SLOPE)
    per_word = activated / (_length(activated, dim=2) + NORM_EPSILON)
    per_region = activated / (_length(activated, dim=1) + NORM_EPSILON)
    to_words = per_word.masked_fill(~words_valid[:, :, None, None], -torch.inf)
    to_regions = per_region.masked_fill(~regions_valid.T, -torch.inf)
    return (inverse_temperature * to_words).softmax(1), (inverse_temperature * to_regions).softmax(2)


def _length(values: Tensor, dim: int) -> Tensor:
    """Euclidean norm, `dim` kept: torch's own takes 30 times as long over a middle axis on a CPU."""
    return values.square().sum(dim, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny).sqrt()


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
    return _scaled(products, weights.unsqueeze(1)).sum(2)


def _scaled(values: Tensor, weights: Tensor) -> Tensor:
    """values · weights, in place where no gradient has to keep `values`: no new memory to fault in."""
    return values * weights if values.requires_grad or weights.requires_grad else values.mul_(weights)


def _cosine(products: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """products / max(norm · norm, 1e-8), given squared norms."""
    return products * (first * second).clamp(min=NORM_EPSILON**2).rsqrt()
