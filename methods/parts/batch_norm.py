"""Batch normalisation over the batch of all processes, on any device: torch's SyncBatchNorm refuses CPU tensors."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from itm_harness.methods.parts.gather import processes, sum_everywhere
from itm_harness.methods.parts.precision import at_least_float32


class _WholeBatch(_BatchNorm):
    """In training on several processes, statistics are those of the whole batch; otherwise torch's own layer."""

    def forward(self, features: Tensor) -> Tensor:
        """(B, d, ...) -> the same shape and type; statistics are at least float32."""
        if not self.training or processes() == 1:
            return super().forward(features)
        values = at_least_float32(features).movedim(1, -1)  # (B, ..., d)
        rows = values.flatten(0, -2)
        count = sum_everywhere(rows.new_tensor(len(rows)))
        mean = sum_everywhere(rows.sum(dim=0)) / count
        centred = values - mean
        variance = sum_everywhere(centred.square().flatten(0, -2).sum(dim=0)) / count
        self._follow(mean, variance * count / (count - 1))
        normalised = centred * (variance + self.eps).rsqrt() * self.weight + self.bias
        return normalised.movedim(-1, 1).to(features.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics; variance: the unbiased one."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var), self.momentum)


class BatchNorm1d(_WholeBatch, nn.BatchNorm1d):
    """(B, d)."""


class BatchNorm2d(_WholeBatch, nn.BatchNorm2d):
    """(B, d, H, W)."""


def over_whole_batch(network: nn.Module) -> None:
    """Let the BatchNorm2d layers of somebody else's network take the whole batch; their tensors stay."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = BatchNorm2d
