"""Entities of captions as graphs, and the attention of an entity to those that it is related to (VSSR).

Captions have few entities: all of a batch lie one behind the other, and so do their edges. Nothing is computed for
slots that hold no entity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad

from itm_harness.methods.parts.encoded import Ragged

NEGATIVE_SLOPE = 0.2


@dataclass(frozen=True)
class EntityGraphs:
    """The entities of B captions as nodes of one graph; no edge joins two captions.

    A caption without entities has one node, a zero vector: the released code pools such a caption from what becomes of
    that node. vectors: (M, width), one behind the other. counts: (B,) int64, true entities. sizes: (B,) int64, nodes.
    slots: nodes that a caption may have. places: (M,) int64, of each node among B·slots; no gap within a caption.
    targets, sources: (E,) int64, node of each edge's end and beginning; None where relations are not read.
    """

    vectors: Tensor
    counts: Tensor
    sizes: Tensor
    slots: int
    places: Tensor
    targets: Tensor | None = None
    sources: Tensor | None = None

    @classmethod
    def of(cls, vectors: Tensor, relations: Tensor | None = None) -> EntityGraphs:
        """vectors: (B, slots, width), zero rows = no entity. relations: (B, slots, slots), 0 = none.

        A relation joins its entities both ways, and every entity is joined to itself.
        """
        entity = (vectors != 0).any(dim=2)  # (B, slots)
        counts = entity.sum(dim=1)
        node = entity.clone()
        node[:, 0] |= counts == 0
        found = node.flatten().nonzero().squeeze(1)  # (M,): once, a boolean mask would wait for the GPU at each use
        slots = node.shape[1]
        places = found // slots * slots + (node.cumsum(dim=1) - 1).flatten().index_select(0, found)
        nodes = vectors.flatten(0, 1).index_select(0, found)
        targets, sources = (None, None) if relations is None else _edges(node, relations)
        return cls(nodes, counts, counts.clamp(min=1), slots, places, targets, sources)

    def ragged(self, values: Tensor) -> Ragged:
        """(M, d), one row per node -> the nodes of each caption."""
        return Ragged(values, pad(self.sizes.cumsum(0), (1, 0)))

    def padded(self, values: Tensor) -> Tensor:
        """(M, d), one row per node -> (B, slots, d), zero behind each caption's nodes."""
        rows = values.new_zeros(len(self.sizes) * self.slots, values.shape[1])
        return rows.index_copy(0, self.places, values).unflatten(0, (-1, self.slots))


def _edges(node: Tensor, relations: Tensor) -> tuple[Tensor, Tensor]:
    """Target and source of each edge, (E,) each. node: (B, slots) bool: slots that hold a node."""
    related = relations != 0
    loops = torch.eye(node.shape[1], dtype=torch.bool, device=node.device)
    adjacent = (related | related.mT | loops) & node[:, :, None] & node[:, None, :]  # (B, slots, slots)
    caption, target, source = adjacent.nonzero(as_tuple=True)
    number = node.flatten().cumsum(0).view_as(node) - 1  # of the node in a slot
    return number[caption, target], number[caption, source]


class GraphAttention(nn.Module):
    """ReLU(LayerNorm(W₁x_i + Σ_j α_ij W_v x_j)): one layer of attention over the neighbours, after GATv2.

    Per head: α over the neighbours j of i is the softmax of a · LeakyReLU₀.₂(W₁x_i + W₂x_j) + b. W₁x_i is the residual
    too. heads: None = without attention: the residual alone (ours, for the ablation).
    """

    def __init__(self, input_size: int, embed_size: int, heads: int | None = 16, dropout: float = 0.05) -> None:
        super().__init__()
        self.heads = heads
        self.target = nn.Linear(input_size, embed_size)  # W₁
        self.norm = nn.LayerNorm(embed_size)
        if heads is None:
            return
        self.source = nn.Linear(input_size, embed_size)  # W₂
        self.value = nn.Linear(input_size, embed_size)
        self.dropout = nn.Dropout(dropout)
        bound = 1 / math.sqrt(embed_size / heads)
        self.weight = nn.Parameter(torch.empty(heads, embed_size // heads).uniform_(-bound, bound))  # a
        self.bias = nn.Parameter(torch.empty(heads).uniform_(-bound, bound))  # b

    def forward(self, graphs: EntityGraphs) -> Tensor:
        """(M, d), not normalised."""
        own = self.target(graphs.vectors)
        if self.heads is not None:
            own = own + self._gathered(own, graphs)
        return self.norm(own).relu()

    def _gathered(self, own: Tensor, graphs: EntityGraphs) -> Tensor:
        """Σ_j α_ij W_v x_j, (M, d). own: W₁x."""
        values = self.dropout(self.value(graphs.vectors)).index_select(0, graphs.sources)  # (E, d)
        weighted = self.shares(own, graphs)[:, :, None] * values.unflatten(1, (self.heads, -1))
        return weighted.new_zeros(own.shape).index_add(0, graphs.targets, weighted.flatten(1))

    def shares(self, own: Tensor, graphs: EntityGraphs) -> Tensor:
        """α of each edge, (E, heads). own: W₁x, (M, d)."""
        other = self.source(graphs.vectors)
        joint = own.index_select(0, graphs.targets) + other.index_select(0, graphs.sources)  # (E, d)
        heads = leaky_relu(joint, NEGATIVE_SLOPE).unflatten(1, (self.heads, -1))
        return softmax_over_edges((heads * self.weight).sum(dim=2) + self.bias, graphs.targets, len(own))


def softmax_over_edges(scores: Tensor, targets: Tensor, nodes: int) -> Tensor:
    """Softmax of the scores, (E, heads), over the edges that end at the same one of `nodes` nodes."""
    places = targets[:, None].expand_as(scores)
    highest = scores.new_full((nodes, scores.shape[1]), -math.inf).scatter_reduce(0, places, scores.detach(), "amax")
    weights = (scores - highest.index_select(0, targets)).exp()
    total = torch.zeros_like(highest).index_add(0, targets, weights)
    return weights / total.index_select(0, targets)
