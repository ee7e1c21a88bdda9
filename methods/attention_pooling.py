"""A set of regions or words -> one vector, pooled by the attention of a global vector (AAHR, KBS 2025)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.normalise import l2norm
from methods.precision import at_least_float32

EPSILON = 1e-8  # beside a length, as in `l2norm`


class AttentionPooling(nn.Module):
    """Several attention heads with one query per set, each as wide as the set's vectors; their outputs are averaged."""

    def __init__(self, embed_size: int, heads: int = 8) -> None:
        super().__init__()
        self.query, self.key, self.value = (
            nn.ModuleList(nn.Linear(embed_size, embed_size) for _ in range(heads)) for _ in range(3)
        )

    def forward(self, query: Tensor, fragments: Tensor, valid: Tensor | None = None) -> Tensor:
        """query: (B, d), fragments: (B, N, d) -> (B, d). valid: (B, N) bool, slots that are looked at; None = all."""
        heads = zip(self.query, self.key, self.value, strict=True)
        return torch.stack([_head(*head, query, fragments, valid) for head in heads]).mean(dim=0)


def _head(
    to_query: nn.Linear, to_key: nn.Linear, to_value: nn.Linear, query: Tensor, fragments: Tensor, valid: Tensor | None
) -> Tensor:
    """Softmax over the cosines of query and keys, (B, d). The weights sum to 1: values are mapped after their sum."""
    keys = at_least_float32(to_key(fragments))  # (B, N, d): lengths are divided out of the products, not out of them
    cosines = (keys @ l2norm(to_query(query))[:, :, None]).squeeze(2) / (keys.norm(dim=2) + EPSILON)  # (B, N)
    if valid is not None:
        cosines = cosines.masked_fill(~valid, -torch.inf)
    weights = at_least_float32(cosines).softmax(dim=1)
    return to_value((weights[:, None] @ fragments.to(weights.dtype)).squeeze(1))
