"""GSMN written out step by step: a loop over captions, context vectors and neighbour tensors in full.

The slow and obvious form of methods/gsmn.py, on the parameters of the same model: what its tests compare with and what
`bench` measures against. Every image has the same number of regions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from itm_harness.datasets.batch import Batch
from itm_harness.methods.base import Progress, Terms
from itm_harness.methods.graphs.matching_graphs import GraphHead, PolarKernels
from itm_harness.methods.gsmn import GSMN
from itm_harness.methods.losses.hinge import diagonal, hinge_loss


@dataclass(frozen=True)
class GraphTrace:
    """What a graph computes on its way. I images, n nodes, b blocks, K kernels.

    matching: (I, n, b) cosines per block. neighbours: (I, n, n, b) vectors that node i receives from j. edges: (n, n)
    text edge weights (None in the visual graph). kernels: (I or 1, n, n, K) normalised kernel weights. hidden:
    (I, n, hidden) after the graph convolution. score: (I,).
    """

    matching: Tensor
    neighbours: Tensor
    edges: Tensor | None
    kernels: Tensor
    hidden: Tensor
    score: Tensor


def reference_forward(model: GSMN, batch: Batch, progress: Progress) -> Terms:
    """The loss of a batch of pairs, as `GSMN.forward`."""
    regions = model.encode_images(batch.images)["regions"].padded()
    words, dependencies = caption_inputs(model, batch)
    terms = reference_score(model, regions, batch.images.sidecars["boxes"], words, dependencies)
    similarity = terms["visual"] + terms["textual"]
    hardest = progress.reached("max_violation")
    return {"total": hinge_loss(similarity, diagonal(batch.texts.ids), model.config.margin, hardest)}


def caption_inputs(model: GSMN, batch: Batch) -> tuple[list[Tensor], list[Tensor] | None]:
    """Each caption's (L, d) word features and, where they are read, its (M, 2) dependencies."""
    encoded = model.encode_texts(batch.texts)
    words = [encoded[i : i + 1]["words"].values for i in range(len(encoded))]
    if "dependencies" not in encoded.tensors:
        return words, None
    return words, [encoded[i : i + 1]["dependencies"].values for i in range(len(encoded))]


def reference_score(
    model: GSMN, regions: Tensor, boxes: Tensor, words: Sequence[Tensor], dependencies: Sequence[Tensor] | None = None
) -> Terms:
    """Visual and textual scores, each (I, T).

    regions: (I, N, d) normalised, boxes: (I, N, 4), words: T tensors (L, d) normalised, dependencies: T tensors (M, 2).
    """
    pairs = dependencies or [None] * len(words)
    visual = [visual_trace(model, regions, boxes, w).score for w in words]
    textual = [textual_trace(model, regions, w, p).score for w, p in zip(words, pairs, strict=True)]
    return {"visual": torch.stack(visual, dim=1), "textual": torch.stack(textual, dim=1)}


def visual_trace(model: GSMN, regions: Tensor, boxes: Tensor, words: Tensor) -> GraphTrace:
    """The visual graph of all images with one caption. words: (L, d)."""
    context = words.expand(len(regions), -1, -1)
    matching = matching_vectors(regions, context, model.config.num_blocks, model.config.lambda_softmax)  # (I, N, b)
    neighbours = neighbour_vectors(matching, model.config.propagate)  # (I, N, N, b)
    kernels = gaussian_weights(model.visual.kernels, pseudo_coordinates(boxes))  # (I, N, N, K)
    hidden = graph_convolution(neighbours, kernels, list(model.visual.convolution.maps))
    return GraphTrace(matching, neighbours, None, kernels, hidden, head_score(model.visual.head, hidden))


def textual_trace(model: GSMN, regions: Tensor, words: Tensor, dependencies: Tensor | None) -> GraphTrace:
    """The textual graph of one caption with all images. dependencies: (M, 2), None = dense."""
    config = model.config
    queries = words.expand(len(regions), -1, -1)
    matching = matching_vectors(queries, regions, config.num_blocks, config.lambda_softmax)  # (I, L, b)
    neighbours = neighbour_vectors(matching, config.propagate)  # (I, L, L, b)
    edges = torch.softmax(config.lambda_softmax * words @ words.T, dim=1)  # (L, L)
    if dependencies is not None:
        connected = adjacency(dependencies, len(words))
        edges = connected * edges
        edges = edges / (edges.norm(dim=1, keepdim=True) + 1e-8)
        neighbours = neighbours * connected[None, :, :, None]
    kernels = edges[None, :, :, None].expand(-1, -1, -1, config.n_kernels)  # p_k = 1: it cancels below
    kernels = kernels / kernels.sum(dim=2, keepdim=True)
    hidden = graph_convolution(neighbours, kernels, list(model.textual.convolution.maps))
    return GraphTrace(matching, neighbours, edges, kernels, hidden, head_score(model.textual.head, hidden))


def matching_vectors(queries: Tensor, context: Tensor, blocks: int, inverse_temperature: float) -> Tensor:
    """(I, n, d) queries, (I, m, d) context -> (I, n, blocks) cosines of each query and its context vector."""
    attention = nn.functional.leaky_relu(context @ queries.transpose(1, 2), 0.1)  # (I, m, n)
    attention = attention / (attention.norm(dim=2, keepdim=True) + 1e-8)
    weights = torch.softmax(inverse_temperature * attention.transpose(1, 2), dim=2)  # (I, n, m)
    attended = weights @ context  # (I, n, d)
    cosines = []
    for query, other in zip(queries.chunk(blocks, dim=2), attended.chunk(blocks, dim=2), strict=True):
        norms = query.norm(dim=2) * other.norm(dim=2)
        cosines.append((query * other).sum(dim=2) / norms.clamp(min=1e-8))
    return torch.stack(cosines, dim=2)


def neighbour_vectors(matching: Tensor, propagate: str) -> Tensor:
    """(I, n, b) -> (I, n, n, b): node i receives its own vector from every j (`self`), or that of j (`neighbours`)."""
    n = matching.shape[1]
    if propagate == "self":
        return matching.unsqueeze(2).repeat(1, 1, n, 1)
    return matching.unsqueeze(1).repeat(1, n, 1, 1)


def pseudo_coordinates(boxes: Tensor) -> Tensor:
    """(I, N, 4) boxes -> (I, N, N, 2): distance and angle of the centres of i and j."""
    x, y = (boxes[..., 0] + boxes[..., 2]) / 2, (boxes[..., 1] + boxes[..., 3]) / 2
    delta_x, delta_y = x[:, :, None] - x[:, None, :], y[:, :, None] - y[:, None, :]
    return torch.stack([torch.sqrt(delta_x**2 + delta_y**2), torch.atan2(delta_x, delta_y)], dim=3)


def gaussian_weights(kernels: PolarKernels, coordinates: Tensor) -> Tensor:
    """(I, N, N, 2) -> (I, N, N, K), NaN → 0, then normalised over the kernels."""
    weights = []
    for k in range(len(kernels.mean_rho)):
        distance = (coordinates[..., 0] - kernels.mean_rho[k]) ** 2
        angle = (coordinates[..., 1] - kernels.mean_theta[k]).abs()
        angle = torch.minimum(angle, (2 * math.pi - angle).abs()) ** 2
        by_distance = torch.exp(-0.5 * distance / (1e-14 + kernels.sigma_rho[k] ** 2))
        by_angle = torch.exp(-0.5 * angle / (1e-14 + kernels.sigma_theta[k] ** 2))
        weights.append(torch.nan_to_num(by_distance * by_angle, nan=0.0))
    stacked = torch.stack(weights, dim=3)
    return stacked / stacked.sum(dim=3, keepdim=True)


def adjacency(dependencies: Tensor, n_words: int) -> Tensor:
    """(M, 2) pairs (head, dependent), the root pair first -> (n_words, n_words) of 0 and 1, symmetric, with loops."""
    connected = torch.eye(n_words)
    for head, dependent in dependencies[1:].tolist():
        if head < n_words and dependent < n_words:
            connected[head, dependent] = connected[dependent, head] = 1
    return connected


def graph_convolution(neighbours: Tensor, weights: Tensor, maps: Sequence[nn.Module]) -> Tensor:
    """(I, n, n, b), (I, n, n, K) -> (I, n, hidden): per kernel a weighted sum of neighbours, then its linear map."""
    outputs = []
    for k, linear in enumerate(maps):
        gathered = (weights[..., k : k + 1] * neighbours).sum(dim=2)  # (I, n, b)
        outputs.append(linear(gathered))
    return torch.cat(outputs, dim=2)


def head_score(head: GraphHead, hidden: Tensor) -> Tensor:
    """(I, n, hidden) -> (I,): the mean score of the nodes."""
    return head.output(torch.tanh(head.hidden(hidden))).mean(dim=1).squeeze(1)
