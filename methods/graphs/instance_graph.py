"""HREM's instance-level graph: the images and captions of a batch attend to each other, in training only.

As the released code computes it, for all pairs of a batch at once.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, leaky_relu, normalize, pad

from itm_harness.methods.encoders.fragments import relation_layer
from itm_harness.methods.encoders.text_encoders import valid_positions

SLOPE = 0.1  # of the leaky ReLU on word–region cosines
# Bytes of cosines that are held at once. On a CPU a chunk that stays in the cache is fastest; on a GPU this is little
# beside the encoders' activations, and asking in each step how much memory is free would take as long as many launches.
CHUNK_BYTES = {"cpu": 2**25, "cuda": 2**29}


class FragmentScores(NamedTuple):
    """What the words and regions say about each (caption, image) pair: B captions in rows, B images in columns.

    t2i: a value per word, i2t: a value per region. *_mean: (B, B). *_top: (B, B, topk), the largest values, descending.
    """

    t2i_mean: Tensor
    t2i_top: Tensor
    i2t_mean: Tensor
    i2t_top: Tensor


@torch.no_grad()
def fragment_scores(regions: Tensor, words: Tensor, lengths: Tensor, topk: int) -> FragmentScores:
    """Fine-grained scores of all pairs.

    regions: (B, N, d), words: (B, L, d), before their transformer layers; lengths: (B,) valid words. All region slots
    count, padding included; of the words the first max(length, topk) slots. Where there are fewer than topk slots
    the missing values are 0.
    """
    regions, words = normalize(regions, dim=2), normalize(words, dim=2)
    words = pad(words, (0, 0, 0, max(0, topk - words.shape[1])))  # (B, L', d), L' ≥ topk
    used = lengths.clamp(min=topk)
    words = words * valid_positions(used, words.shape[1])[:, :, None]
    on_cpu = words.device.type == "cpu"  # elsewhere, to read the lengths would be to wait for the device
    longest = used.tolist() if on_cpu else [words.shape[1]] * len(words)
    pair_bytes = 3 * words.shape[1] * regions.shape[1] * words.element_size()
    size = max(1, CHUNK_BYTES.get(words.device.type, 2**26) // (pair_bytes * len(regions)))
    parts = [
        _chunk_scores(regions, words[i : i + size, : max(longest[i : i + size])], lengths[i : i + size], topk)
        for i in range(0, len(words), size)
    ]
    return FragmentScores(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _chunk_scores(regions: Tensor, words: Tensor, lengths: Tensor, topk: int) -> FragmentScores:
    """regions: (B, N, d), words: (C, L, d) normalised, zero where unused -> scores of C captions and B images."""
    cosines = words.flatten(0, 1) @ regions.flatten(0, 1).T  # (C·L, B·N)
    cosines = leaky_relu(cosines, SLOPE, inplace=True).view(*words.shape[:2], *regions.shape[:2])  # (C, L, B, N)
    words_valid = valid_positions(lengths, words.shape[1])[:, :, None]  # (C, L, 1)
    squares = cosines.square()  # sums of squares: torch's norm over a middle axis takes 30 times as long on a CPU
    region_norm = squares.sum(dim=3, keepdim=True).sqrt().clamp(min=1e-12)  # (C, L, B, 1)
    word_norm = squares.sum(dim=1, keepdim=True).sqrt().clamp(min=1e-12)  # (C, 1, B, N)
    del squares
    of_words = (cosines / word_norm).amax(dim=3)  # (C, L, B)
    normalised = cosines.div_(region_norm).masked_fill_(~words_valid[..., None], -torch.inf)
    of_regions = normalised.amax(dim=1)  # (C, B, N)
    unused = ~valid_positions(lengths.clamp(min=topk), words.shape[1])[:, :, None]
    return FragmentScores(
        t2i_mean=(of_words * words_valid).sum(dim=1) / lengths[:, None],
        t2i_top=of_words.masked_fill(unused, -torch.inf).topk(topk, dim=1).values.transpose(1, 2),
        i2t_mean=of_regions.mean(dim=2),
        i2t_top=pad(of_regions, (0, max(0, topk - of_regions.shape[2]))).topk(topk, dim=2).values,
    )


class Adjacency(NamedTuple):
    """The graph over 2B instances, images first: who is connected, and how relevant they are to each other.

    connected: (2B, 2B) bool. relevance: (2B, 2B). regularisation: scalar.
    """

    connected: Tensor
    relevance: Tensor
    regularisation: Tensor


class AdjacencyLearning(nn.Module):
    """Connection and relevance of all instances of a batch. The two small MLPs are all that is learned."""

    def __init__(self, threshold: float, topk: int) -> None:
        super().__init__()
        self.threshold, self.topk = threshold, topk
        self.mlp_t2i = nn.Sequential(nn.Linear(topk, topk), nn.ReLU(), nn.Linear(topk, 1))
        self.mlp_i2t = copy.deepcopy(self.mlp_t2i)

    def forward(self, image: Tensor, text: Tensor, regions: Tensor, words: Tensor, lengths: Tensor) -> Adjacency:
        """image, text: (B, d) normalised embeddings; the rest as of `fragment_scores`."""
        scores = fragment_scores(regions, words, lengths, self.topk)
        t2i = self.mlp_t2i(scores.t2i_top).squeeze(2) + scores.t2i_mean  # captions × images
        i2t = (self.mlp_i2t(scores.i2t_top).squeeze(2) + scores.i2t_mean).T  # images × captions
        connected = [
            [self._strongest((image @ image.T).detach()), self._strongest(scores.i2t_mean.T)],
            [self._strongest(scores.t2i_mean), self._strongest((text @ text.T).detach())],
        ]
        relevance = [[closeness(image, image), i2t], [t2i, closeness(text, text)]]
        return Adjacency(blocks(connected), blocks(relevance), relation_divergence(image, text, i2t, t2i))

    def _strongest(self, scores: Tensor) -> Tensor:
        """The entries of each row that reach its int(B·threshold)-th largest; ties are kept. (B, B) bool."""
        k = max(1, int(scores.shape[1] * self.threshold))
        return scores >= scores.topk(k, dim=1).values[:, -1:]


def blocks(parts: list[list[Tensor]]) -> Tensor:
    """[[i2i, i2t], [t2i, t2t]], each (B, B), as one (2B, 2B)."""
    return torch.cat([torch.cat(row, dim=1) for row in parts])


def closeness(a: Tensor, b: Tensor) -> Tensor:
    """exp(−euclidean distance) of all pairs, (B, B)."""
    return torch.cdist(a, b).neg().exp()


def relation_divergence(image: Tensor, text: Tensor, i2t: Tensor, t2i: Tensor) -> Tensor:
    """How far the learned relevance is from the embeddings' closeness, which is not trained by it: a scalar."""
    target = closeness(image, text).detach()
    return _divergence(target, i2t) + _divergence(target.T, t2i)


def _divergence(target: Tensor, relevance: Tensor) -> Tensor:
    """KL(softmax(relevance) ‖ softmax(target)) over rows, averaged over them, in the released order."""
    return kl_div(target.log_softmax(dim=1), relevance.softmax(dim=1), reduction="batchmean")


@dataclass(frozen=True)
class Attends:
    """Which blocks of the graph one layer uses: pairs of one modality, pairs of two."""

    intra: bool
    inter: bool

    def allowed(self, n: int, device: torch.device) -> Tensor:
        """(2n, 2n) bool."""
        is_text = torch.arange(2 * n, device=device) >= n
        same = is_text[:, None] == is_text[None, :]
        return (same & self.intra) | (~same & self.inter)


class InstanceGraph(nn.Module):
    """Transformer layers over a batch's 2B embeddings as one sequence, each restricted to its part of the graph.

    The output of each layer is normalised. use_connection False: everything is connected. use_relevance False:
    connected instances attend without a bias.
    """

    def __init__(
        self,
        embed_size: int,
        heads: int,
        dropout: float,
        attends: list[Attends],
        threshold: float,
        topk: int,
        mask_weight: float,
        use_connection: bool = True,
        use_relevance: bool = True,
    ) -> None:
        super().__init__()
        self.adjacency = AdjacencyLearning(threshold, topk)
        self.layers = nn.ModuleList(relation_layer(embed_size, heads, dropout) for _ in attends)
        self.attends = attends
        self.mask_weight = mask_weight
        self.use_connection, self.use_relevance = use_connection, use_relevance

    def forward(
        self, image: Tensor, text: Tensor, regions: Tensor, words: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Arguments as of `AdjacencyLearning`. Returns enhanced image and text embeddings (B, d) and a scalar."""
        adjacency = self.adjacency(image, text, regions, words, lengths)
        instances = torch.cat([image, text])  # (2B, d)
        for layer, attends in zip(self.layers, self.attends, strict=True):
            mask = self.attention_mask(adjacency, attends)
            instances = normalize(layer(instances[None], src_mask=mask)[0], dim=1)
        return *instances.split(len(image)), adjacency.regularisation

    def attention_mask(self, adjacency: Adjacency, attends: Attends) -> Tensor:
        """What is added to the attention logits: weighted relevance where connected, −∞ elsewhere. (2B, 2B)"""
        connected = attends.allowed(len(adjacency.connected) // 2, adjacency.connected.device)
        if self.use_connection:
            connected = connected & adjacency.connected
        bias = self.mask_weight * adjacency.relevance if self.use_relevance else torch.zeros_like(adjacency.relevance)
        return bias.masked_fill(~connected, -torch.inf)
