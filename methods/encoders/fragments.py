"""Regions or words -> one vector, enhanced by relations between them: the encoder of HREM, and a part of AAHR's."""

from __future__ import annotations

from torch import Tensor, nn

from itm_harness.methods.encoders.pooling import kmax_pool, mean_pool
from itm_harness.methods.encoders.text_encoders import valid_positions

LARGEST = 2  # k of the k-max pooling, fixed in the released code


def relation_layer(embed_size: int, heads: int, dropout: float) -> nn.TransformerEncoderLayer:
    """One post-norm transformer layer with ReLU and a feed-forward width of d."""
    return nn.TransformerEncoderLayer(embed_size, heads, embed_size, dropout, batch_first=True)


class FragmentEncoder(nn.Module):
    """Fragment-level relations (HREM, CVPR 2023).

    base = mean of the two largest values of each dimension; enhanced = mean of the fragments after one transformer
    layer; the result is residual_weight·base + (1 − residual_weight)·enhanced. relations False: base alone.
    """

    def __init__(
        self, embed_size: int, heads: int, dropout: float, residual_weight: float, relations: bool = True
    ) -> None:
        super().__init__()
        self.residual_weight = residual_weight
        self.relation = relation_layer(embed_size, heads, dropout) if relations else None

    def forward(self, fragments: Tensor, lengths: Tensor) -> Tensor:
        """(B, N, d), (B,) -> (B, d), not normalised."""
        base = self.strongest(fragments, lengths)
        if self.relation is None:
            return base
        enhanced = mean_pool(self.related(fragments, lengths), lengths)
        return self.residual_weight * base + (1 - self.residual_weight) * enhanced

    def strongest(self, fragments: Tensor, lengths: Tensor) -> Tensor:
        """2-max pooling, (B, d).

        In training a set of one fragment lowers k for all later rows of the batch, as released; at evaluation it does
        not, so that an embedding depends on its own item alone.
        """
        return kmax_pool(fragments, lengths, LARGEST, shrinking=self.training)

    def related(self, fragments: Tensor, lengths: Tensor) -> Tensor:
        """Fragments that have attended to each other, (B, N, d); those behind `lengths` are meaningless."""
        padding = ~valid_positions(lengths, fragments.shape[1])
        return self.relation(fragments, src_key_padding_mask=padding)
