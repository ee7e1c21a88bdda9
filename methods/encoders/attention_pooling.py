"""A set of regions or words -> one vector, pooled by the attention of a global vector (AAHR, KBS 2025)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from itm_harness.methods.parts.normalise import l2norm
from itm_harness.methods.parts.precision import at_least_float32

EPSILON = 1e-8  # beside a length, as in `l2norm`


class AttentionPooling(nn.Module):
    """Several attention heads with one query per set, each as wide as the set's vectors; their outputs are averaged."""

    def __init__(self, embed_size: int, heads: int = 8) -> None:
        super().__init__()
        self.query, self.key, self.value = (
            nn.ModuleList(nn.Linear(embed_size, embed_size) for _ in range(heads)) for _ in range(3)
        )

    def forward(self, query: Tensor, fragments: Tensor, valid: Tensor | None = None) -> Tensor:
        """query: (B, d), fragments: (B, N, d) -> (B, d). valid: (B, N) bool, slots that are looked at; None = all.

        The weights of a head sum to 1: values are mapped after their sum, and averaged over the heads by the same map.
        """
        queries, keys = _of_all_heads(self.query, query), _of_all_heads(self.key, fragments)
        with torch.autocast(query.device.type, enabled=False):
            weights = shares(queries, keys, valid)  # (B, H, N)
            sums = weights @ fragments.to(weights.dtype)  # (B, H, d)
        weight = torch.cat([head.weight for head in self.value], dim=1)  # (d, H·d)
        bias = torch.stack([head.bias for head in self.value]).mean(dim=0)  # of a sum, all gradients share one memory
        return linear(sums.flatten(1), weight) / len(self.value) + bias


def _of_all_heads(heads: nn.ModuleList, vectors: Tensor) -> Tensor:
    """(..., d) -> (..., H, d), all heads in one product: one by one they keep a GPU waiting for launches."""
    weight = torch.cat([head.weight for head in heads])  # (H·d, d)
    return linear(vectors, weight, torch.cat([head.bias for head in heads])).unflatten(-1, (len(heads), -1))


def shares(queries: Tensor, keys: Tensor, valid: Tensor | None) -> Tensor:
    """Softmax over the cosines of query and keys, (B, H, N). queries: (B, H, d), keys: (B, N, H, d), valid: (B, N)."""
    keys = at_least_float32(keys)  # lengths are divided out of the products, not out of them
    cosines = (keys * l2norm(queries)[:, None]).sum(dim=3) / (keys.norm(dim=3) + EPSILON)  # (B, N, H)
    if valid is not None:
        cosines = cosines.masked_fill(~valid[:, :, None], -torch.inf)
    return cosines.softmax(dim=1).mT
