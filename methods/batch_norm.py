"""Batch normalisation over the batch of all processes."""

import torch
from torch import Tensor, nn

from methods.gather import processes, sum_everywhere
from methods.precision import at_least_float32


class BatchNorm(nn.BatchNorm1d):
    """BatchNorm1d whose statistics are those of the whole batch, on any device: SyncBatchNorm refuses CPU tensors."""

    def forward(self, rows: Tensor) -> Tensor:
        """(B, d) -> (B, d), of the same type; statistics are at least float32."""
        if not self.training or processes() == 1:
            return super().forward(rows)
        values = at_least_float32(rows)
        count = sum_everywhere(values.new_tensor(len(values)))
        mean = sum_everywhere(values.sum(dim=0)) / count
        centred = values - mean
        variance = sum_everywhere(centred.square().sum(dim=0)) / count
        self._follow(mean, variance * count / (count - 1))
        normalised = centred * (variance + self.eps).rsqrt()
        return (normalised * self.weight + self.bias).to(rows.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics; variance: the unbiased one."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var), self.momentum)
