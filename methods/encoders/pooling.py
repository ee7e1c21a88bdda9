"""Sets of region or word features -> one vector each: GPO, mean, max, k-max, CLS.

Every operator maps features (B, N, d) and lengths (B,), 1 ≤ length ≤ N, to (B, d) in float32 (float64 stays float64).
Rows behind `lengths` may hold anything finite and do not count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from itm_harness.methods.config import PoolingName
from itm_harness.methods.encoders.gru import mean_over_prefixes
from itm_harness.methods.encoders.text_encoders import valid_positions
from itm_harness.methods.parts.gather import lowest_so_far
from itm_harness.methods.parts.precision import at_least_float32

PADDED = -10000.0


def pooling(name: PoolingName, k: int = 1) -> GPOPooling | FixedPooling:
    """The operator of that name; k: how many values k-max averages."""
    fixed = {"mean": mean_pool, "max": max_pool, "cls": cls_pool, "kmax": partial(kmax_pool, k=k)}
    return GPOPooling() if name == "gpo" else FixedPooling(fixed[name])


class FixedPooling(nn.Module):
    """An operator without parameters, as a module."""

    def __init__(self, operator: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.operator = operator

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(B, N, d), (B,) -> (B, d)."""
        return self.operator(features, lengths)


def mean_pool(features: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the valid rows."""
    features = at_least_float32(features)
    share = valid_positions(lengths, features.shape[1]).to(features.dtype) / lengths[:, None]  # (B, N)
    return _weighted_sum(share, features)


def max_pool(features: Tensor, lengths: Tensor) -> Tensor:
    """Maximum over the valid rows, each dimension on its own."""
    valid = valid_positions(lengths, features.shape[1])
    return at_least_float32(features).masked_fill(~valid[:, :, None], -math.inf).max(dim=1).values


def cls_pool(features: Tensor, lengths: Tensor) -> Tensor:
    """The first row: BERT's [CLS], or `<start>`."""
    return at_least_float32(features[:, 0])


def kmax_pool(features: Tensor, lengths: Tensor, k: int, shrinking: bool = False) -> Tensor:
    """Mean of the k largest values of each dimension; of all values where a row is shorter than k.

    shrinking: as the released HREM and AAHR compute it: a row shorter than k lowers k for all later rows of the batch
    as well, so the result depends on the order of the batch.
    """
    largest = min(k, features.shape[1])
    bound = lowest_so_far(lengths) if shrinking else lengths
    kept = bound.clamp(max=largest)  # (B,)
    valid = valid_positions(lengths, features.shape[1])
    masked = at_least_float32(features).masked_fill(~valid[:, :, None], -math.inf)
    top = two_largest(masked) if largest == 2 else masked.topk(largest, dim=1).values  # (B, k, d)
    beyond = ~valid_positions(kept, largest)
    return top.masked_fill(beyond[:, :, None], 0).sum(dim=1) / kept[:, None]


def two_largest(values: Tensor) -> Tensor:
    """(B, N, d), N ≥ 2 -> (B, 2, d), descending; topk over a middle axis is slow, on a GPU most of all."""
    first, where = values.max(dim=1, keepdim=True)
    second = values.scatter(1, where, -math.inf).max(dim=1, keepdim=True).values
    return torch.cat([first, second], dim=1)


class GPOPooling(nn.Module):
    """Generalised pooling operator (VSE∞, CVPR 2021, section 3.2): a learned weight for each rank.

    Each dimension is sorted on its own, largest first, and summed with weights θ that depend on the rank and on the
    length only. A bidirectional GRU over sinusoidal codes of the ranks generates θ.
    """

    def __init__(self, code_size: int = 32, hidden_size: int = 32, temperature: float = 0.1) -> None:
        super().__init__()
        self.code_size = code_size
        self.temperature = temperature
        self.gru = nn.GRU(code_size, hidden_size, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(hidden_size, 1, bias=False)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(B, N, d), (B,) -> (B, d)."""
        with torch.autocast(features.device.type, enabled=False):
            weights = self.weights(lengths, features.shape[1])  # (B, N)
            ranked = sort_descending(at_least_float32(features), lengths)  # (B, d, N)
            return (ranked @ weights[:, :, None]).squeeze(2)

    def weights(self, lengths: Tensor, longest: int) -> Tensor:
        """θ of each row, (B, longest), 0 behind its length."""
        return self.weight_table(longest)[longest - lengths]

    def weight_table(self, longest: int) -> Tensor:
        """θ of every length from `longest` down to 1, (longest, longest), 0 behind each length.

        All lengths rather than those of the batch: the lengths need not come back from the GPU for it.
        """
        device = self.linear.weight.device
        codes = rank_codes(longest, self.code_size, device).to(self.linear.weight.dtype)  # (longest, code)
        states = mean_over_prefixes(self.gru, codes)  # (longest, longest, hidden)
        valid = valid_positions(torch.arange(longest, 0, -1, device=device), longest)
        scores = self.linear(states).squeeze(2).masked_fill(~valid, PADDED)
        return (scores / self.temperature).softmax(dim=1)


def rank_codes(n: int, size: int, device: torch.device | str = "cpu") -> Tensor:
    """Sinusoidal codes of the ranks 0 … n − 1, (n, size): sines at even, cosines at odd dimensions."""
    frequencies = torch.exp(torch.arange(0, size, 2, device=device) * (-math.log(10000) / size))  # (size / 2,)
    angles = torch.arange(n, device=device)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def sort_descending(features: Tensor, lengths: Tensor) -> Tensor:
    """Each dimension sorted on its own, largest first: (B, N, d), (B,) -> (B, d, N), padding last.

    The sort runs along contiguous memory, which is a fifth faster on a CPU. Padding keeps its −10000: its weight is
    exactly 0, and so is its gradient.
    """
    valid = valid_positions(lengths, features.shape[1])
    masked = features.masked_fill(~valid[:, :, None], PADDED)
    return masked.transpose(1, 2).contiguous().sort(dim=2, descending=True).values


def _weighted_sum(weights: Tensor, features: Tensor) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        return (weights[:, None, :] @ features).squeeze(1)  # (B, d)
