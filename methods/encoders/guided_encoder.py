"""One side of AAHR (KBS 2025): regions or words, guided by the CLIP vector of the whole image or caption."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from itm_harness.methods.config import Fusion
from itm_harness.methods.encoders.attention_pooling import AttentionPooling
from itm_harness.methods.encoders.fragments import FragmentEncoder
from itm_harness.methods.encoders.text_encoders import valid_positions
from itm_harness.methods.errors import MethodError
from itm_harness.methods.parts.normalise import l2norm


class Side(NamedTuple):
    """The images or the captions of a batch.

    local: (B, N, d) fragments before any relation. unfused: (B, d), made of them, not normalised. embedding: (B, d).
    """

    local: Tensor
    unfused: Tensor
    embedding: Tensor


class ClipProjection(nn.Module):
    """fc(x) + mlp(x), two linear layers: the released "MLP" has a single layer and no norm."""

    def __init__(self, clip_dim: int, embed_size: int) -> None:
        super().__init__()
        self.fc, self.mlp = nn.Linear(clip_dim, embed_size), nn.Linear(clip_dim, embed_size)
        for layer in (self.fc, self.mlp):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, vectors: Tensor) -> Tensor:
        """(B, clip_dim) raw CLIP vectors -> (B, d). Raises MethodError where they have another width."""
        if vectors.shape[1] != self.fc.in_features:
            raise MethodError(
                f"the model expects CLIP vectors of {self.fc.in_features} numbers, the data's have {vectors.shape[1]}; "
                f"compute them with the CLIP it was trained with."
            )
        return self.fc(vectors) + self.mlp(vectors)


class GuidedEncoder(nn.Module):
    """Fragments → v, attended by the CLIP vector; v and the projected CLIP vector g → the embedding.

    v = residual_weight·(2-max pooling) + (1 − residual_weight)·(attention pooling with the query g).
    fusion gate: a learned share of each dimension comes from v, the rest from g; sum: half of each. Both are normalised
    before, the result is not. mask_padding: the attention leaves padded slots out, so that an embedding depends on its
    item alone; released models look at them. clip_dim None: no CLIP vector: a mean in the place of the attention, and
    the embedding is v, normalised.
    """

    def __init__(
        self,
        embed_size: int,
        clip_dim: int | None,
        heads: int,
        pool_heads: int,
        dropout: float,
        residual_weight: float,
        fusion: Fusion,
        mask_padding: bool,
    ) -> None:
        super().__init__()
        self.mask_padding = mask_padding
        self.fragments = FragmentEncoder(embed_size, heads, dropout, residual_weight)
        self.clip = self.pool = self.gate = None
        if clip_dim is not None:
            self.clip = ClipProjection(clip_dim, embed_size)
            self.pool = AttentionPooling(embed_size, pool_heads)
            self.gate = nn.Linear(2 * embed_size, embed_size) if fusion == "gate" else None

    def forward(self, local: Tensor, lengths: Tensor, clip: Tensor | None) -> Side:
        """local: (B, N, d), lengths: (B,), clip: (B, clip_dim)."""
        if self.clip is None:
            unfused = self.fragments(local, lengths)
            return Side(local, unfused, l2norm(unfused))
        guide = self.clip(clip)
        share = self.fragments.residual_weight
        attended = self.attended(guide, self.fragments.related(local, lengths), lengths)
        unfused = share * self.fragments.strongest(local, lengths) + (1 - share) * attended
        return Side(local, unfused, self.fused(l2norm(unfused), l2norm(guide)))

    def attended(self, guide: Tensor, related: Tensor, lengths: Tensor) -> Tensor:
        """guide: (B, d), related: (B, N, d), fragments after their transformer layer -> (B, d)."""
        valid = valid_positions(lengths, related.shape[1]) if self.mask_padding else None
        return self.pool(guide, related, valid)

    def fused(self, own: Tensor, guide: Tensor) -> Tensor:
        """Normalised v and g -> the embedding, (B, d), not normalised."""
        gate = 0.5 if self.gate is None else self.gate(torch.cat([own, guide], dim=1)).sigmoid()
        return gate * own + (1 - gate) * guide
