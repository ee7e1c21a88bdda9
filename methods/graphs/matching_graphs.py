"""Structure-level matching (GSMN, section 3.3): matching vectors of a graph's nodes → one score per image and caption.

In the released code a node's neighbour axis holds copies of the node itself (`propagate: self`). Where the weights
over the neighbours sum to one, the node's own vector comes back; the visual weights do not, and scale it. The paper
propagates the neighbours' vectors (`propagate: neighbours`). Node vectors are (blocks, T, nodes, I): see matching.py.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


def polar_coordinates(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Distance and angle between the centres of boxes i and j. boxes: (I, N, 4) as x1, y1, x2, y2.

    Returns ρ, θ = atan2(Δx, Δy), each (I, N, N), Δ = centre i − centre j.
    """
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    delta_x, delta_y = (centres[:, :, None] - centres[:, None]).unbind(-1)  # (I, N, N)
    return delta_x.hypot(delta_y), torch.atan2(delta_x, delta_y)


class PolarKernels(nn.Module):
    """Learnable Gaussian kernels over relative polar coordinates. The sigmas are the released code's `precision_*`."""

    def __init__(self, kernels: int) -> None:
        super().__init__()
        self.mean_rho = nn.Parameter(torch.rand(kernels, 1))
        self.mean_theta = nn.Parameter((2 * torch.rand(kernels, 1) - 1) * math.pi)
        self.sigma_rho = nn.Parameter(torch.rand(kernels, 1))
        self.sigma_theta = nn.Parameter(torch.rand(kernels, 1))

    def forward(self, boxes: Tensor) -> Tensor:
        """(I, N, 4) boxes in 0..1 -> (I, N, N, K) weights that sum to one over the kernels, as the released code's do.

        Computed as a softmax of log weights: the same numbers, but finite where all kernels underflow.
        """
        rho, theta = (coordinate.unsqueeze(-1) for coordinate in polar_coordinates(boxes))
        turn = (theta - self.mean_theta.squeeze(1)).abs()
        turn = torch.minimum(turn, (2 * math.pi - turn).abs())
        log_rho = (rho - self.mean_rho.squeeze(1)).square() / (1e-14 + self.sigma_rho.squeeze(1).square())
        log_theta = turn.square() / (1e-14 + self.sigma_theta.squeeze(1).square())
        return (-0.5 * (log_rho + log_theta)).nan_to_num(nan=-torch.inf).softmax(-1)


class GraphHead(nn.Module):
    """A node's vector after propagation → its score; the mean over the nodes is the graph's."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = weight_norm(nn.Linear(hidden, hidden))
        self.output = weight_norm(nn.Linear(hidden, 1))

    def forward(self, nodes: Tensor, valid: Tensor) -> Tensor:
        """nodes: (hidden, T, n, I), valid: (T, n, I) bool or broadcastable. Returns (I, T)."""
        scores = self.output(self.hidden(nodes.flatten(1).T).tanh()).view(nodes.shape[1:])  # (T, n, I)
        return (scores * valid).sum(1).div(valid.sum(1)).T


class KernelLinear(nn.Module):
    """K linear maps of a matching vector side by side, one per kernel."""

    def __init__(self, blocks: int, hidden: int, kernels: int, bias: bool) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(blocks, hidden // kernels, bias=bias) for _ in range(kernels))

    def forward(self, nodes: Tensor) -> Tensor:
        """(blocks, ...) -> (K, hidden / K, ...)."""
        weight = torch.cat([one.weight for one in self.maps])  # (hidden, blocks)
        mapped = weight @ nodes.flatten(1)
        if self.maps[0].bias is not None:
            mapped = mapped + torch.cat([one.bias for one in self.maps])[:, None]
        return mapped.view(len(self.maps), -1, *nodes.shape[1:])


class VisualGraph(nn.Module):
    """Regions, fully connected; a kernel weighs a neighbour by where it lies."""

    def __init__(self, blocks: int, hidden: int, kernels: int) -> None:
        super().__init__()
        self.kernels = PolarKernels(kernels)
        self.convolution = KernelLinear(blocks, hidden, kernels, bias=False)
        self.head = GraphHead(hidden)

    def neighbour_weights(self, boxes: Tensor, valid: Tensor) -> Tensor:
        """(I, N, N, K) kernel weights of region i's neighbours j, 0 for padded j. valid: (I, N) bool."""
        return self.kernels(boxes) * valid[:, None, :, None]

    def own_weights(self, boxes: Tensor, valid: Tensor) -> Tensor:
        """Σ over the neighbours of their weights: all that `propagate: self` needs of the boxes. (I, N, K)."""
        return self.neighbour_weights(boxes, valid).sum(2)

    def convolve(self, nodes: Tensor, weights: Tensor) -> Tensor:
        """(blocks, T, N, I) -> (hidden, T, N, I).

        weights: (I, N, K), then every node keeps its own vector, or (I, N, N, K), then it takes its neighbours'.
        """
        mapped = self.convolution(nodes)  # (K, hidden / K, T, N, I)
        if weights.dim() == 3:
            mixed = mapped * weights.permute(2, 1, 0)[:, None, None]
        else:
            mixed = torch.einsum("inmk,kotmi->kotni", weights, mapped)
        return mixed.flatten(0, 1)

    def forward(self, nodes: Tensor, weights: Tensor, valid: Tensor) -> Tensor:
        """Scores (I, T). nodes: (blocks, T, N, I), weights: see `convolve`, valid: (I, N) bool."""
        return self.head(self.convolve(nodes, weights), valid.T[None])


class TextualGraph(nn.Module):
    """Words, connected densely or by dependencies.

    The released kernel weights p_k cancel in the normalisation over the neighbourhood, so there are none here.
    """

    def __init__(self, blocks: int, hidden: int, kernels: int) -> None:
        super().__init__()
        self.convolution = KernelLinear(blocks, hidden, kernels, bias=True)
        self.head = GraphHead(hidden)

    def convolve(self, nodes: Tensor, edges: Tensor | None) -> Tensor:
        """(blocks, T, L, I) -> (hidden, T, L, I). edges: (T, L, L), rows sum to one; None: a node's own vector."""
        if edges is not None:
            nodes = torch.einsum("tlm,btmi->btli", edges, nodes)
        return self.convolution(nodes).flatten(0, 1)

    def forward(self, nodes: Tensor, edges: Tensor | None, valid: Tensor) -> Tensor:
        """Scores (I, T). nodes: (blocks, T, L, I), valid: (T, L) bool."""
        return self.head(self.convolve(nodes, edges), valid[:, :, None])


def word_edges(words: Tensor, valid: Tensor, inverse_temperature: float, adjacency: Tensor | None = None) -> Tensor:
    """Weights of a word's neighbours, (T, L, L), each valid row sums to one.

    words: (T, L, d), valid: (T, L) bool: softmax of the words' dot products (dense), kept and rescaled where
    `adjacency` (T, L, L) bool connects (sparse).
    """
    similarity = (words @ words.transpose(1, 2)).masked_fill(~valid[:, None], -torch.inf)
    weights = (inverse_temperature * similarity).softmax(-1)
    if adjacency is None:
        return weights
    kept = weights * adjacency
    return kept / kept.sum(-1, keepdim=True).clamp(min=torch.finfo(kept.dtype).tiny)


def dependency_adjacency(pairs: Tensor, valid_pairs: Tensor, valid_words: Tensor) -> Tensor:
    """(T, L, L) bool: word pairs joined by a dependency in either direction, and every word with itself.

    pairs: (T, M, 2) int64 positions of head and dependent, 0 = `<start>`. valid_pairs: (T, M) bool. The first pair of a
    caption is its root and is left out, and so is a pair that points beyond the caption's words.
    """
    lengths = valid_words.sum(1)
    joined = valid_pairs & ((pairs >= 0) & (pairs < lengths[:, None, None])).all(-1)
    joined[:, :1] = False
    text, place = joined.nonzero(as_tuple=True)
    head, dependent = pairs[text, place].unbind(-1)
    loops = torch.eye(valid_words.shape[1], dtype=torch.bool, device=pairs.device)
    adjacency = loops.repeat(len(pairs), 1, 1)
    adjacency[text, head, dependent] = True
    adjacency[text, dependent, head] = True
    return adjacency
