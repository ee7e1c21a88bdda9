"""AAHR's instance graph (KBS 2025): graph convolutions over a batch, then HREM's attention, in training only."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, leaky_relu, normalize

from itm_harness.methods.encoders.fragments import relation_layer
from itm_harness.methods.graphs.instance_graph import Adjacency, blocks, closeness, fragment_scores, relation_divergence

SLOPE = 0.2  # of the leaky ReLU behind a graph convolution


class GraphConvolution(nn.Module):
    """LeakyReLU(A · (dropout(x) W) + b), the adjacency A as it is: neither masked nor normalised."""

    def __init__(self, embed_size: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.weight = nn.Parameter(torch.empty(embed_size, embed_size))
        self.bias = nn.Parameter(torch.zeros(embed_size))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        """nodes: (n, d), adjacency: (n, n) -> (n, d)."""
        mapped = dropout(nodes, self.dropout, self.training) @ self.weight
        return leaky_relu(adjacency @ mapped + self.bias, SLOPE)


def mean_adjacency(
    image: Tensor, text: Tensor, regions: Tensor, words: Tensor, lengths: Tensor, threshold: float, topk: int
) -> Adjacency:
    """HREM's graph, with the mean of a pair's fragment scores as its relevance: nothing in it is learned.

    image, text: (B, d) normalised; the rest as of `fragment_scores`. Only the blocks of one modality carry a gradient.
    """
    scores = fragment_scores(regions, words, lengths, topk)
    i2t, t2i = scores.i2t_mean.T, scores.t2i_mean  # rows: images, captions
    within = [closeness(image, image), closeness(text, text)]
    connected = [
        [strongest((image @ image.T).detach(), threshold), strongest(i2t, threshold)],
        [strongest(t2i, threshold), strongest((text @ text.T).detach(), threshold)],
    ]
    relevance = [[within[0], i2t], [t2i, within[1]]]
    return Adjacency(blocks(connected), blocks(relevance), relation_divergence(image, text, i2t, t2i))


def strongest(scores: Tensor, threshold: float) -> Tensor:
    """The entries of each row that reach its int(B·threshold)-th largest; ties are kept. (B, B) bool."""
    k = max(1, int(scores.shape[1] * threshold))
    return scores >= scores.topk(k, dim=1).values[:, -1:]


class ConvolvedGraph(nn.Module):
    """Convolutions within the images, within the captions, then over both; one attention layer over the graph.

    The instances that attend are the normalised convolved ones plus the embeddings; convolutions False: the embeddings
    alone. mask_weight: of the relevance in the attention. convolution_dropout: of the convolutions' inputs.
    """

    def __init__(
        self,
        embed_size: int,
        heads: int,
        dropout: float,
        threshold: float,
        topk: int,
        mask_weight: float,
        convolutions: bool,
        convolution_dropout: float,
    ) -> None:
        super().__init__()
        self.threshold, self.topk, self.mask_weight = threshold, topk, mask_weight
        self.image_convolution = self.text_convolution = self.joint_convolution = None
        if convolutions:
            self.image_convolution = GraphConvolution(embed_size, convolution_dropout)
            self.text_convolution = GraphConvolution(embed_size, convolution_dropout)
            self.joint_convolution = GraphConvolution(embed_size, convolution_dropout)
        self.layer = relation_layer(embed_size, heads, dropout)

    def forward(
        self, image: Tensor, text: Tensor, regions: Tensor, words: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Arguments as of `mean_adjacency`. Returns enhanced image and text embeddings (B, d) and a scalar."""
        adjacency = mean_adjacency(image, text, regions, words, lengths, self.threshold, self.topk)
        instances = self.instances(image, text, adjacency.relevance)
        mask = (self.mask_weight * adjacency.relevance).masked_fill(~adjacency.connected, -torch.inf)
        enhanced = normalize(self.layer(instances[None], src_mask=mask)[0], dim=1)  # (2B, d)
        return *enhanced.split(len(image)), adjacency.regularisation

    def instances(self, image: Tensor, text: Tensor, relevance: Tensor) -> Tensor:
        """What attends, (2B, d), images first. relevance: (2B, 2B)."""
        embeddings, n = torch.cat([image, text]), len(image)
        if self.joint_convolution is None:
            return embeddings
        convolved = torch.cat(
            [
                self.image_convolution(image, relevance[:n, :n]),
                self.text_convolution(text, relevance[n:, n:]),
            ]
        )
        return normalize(self.joint_convolution(convolved, relevance), dim=1) + embeddings
