"""One batch on several processes: each computes its share of the features and sees those of all, with gradients.

The rule behind every gradient: backwards, what was gathered or summed gets the sum of what the losses of all processes
say about it. Each of these losses is that of the whole batch, so a sum is as many times too large as there are
processes, and the wrapper's mean over processes makes it right, however the work is divided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad


def processes() -> int:
    """How many processes share a batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def own_rows(count: int) -> slice:
    """The share of `count` rows that this process computes, where it need not compute all."""
    if processes() == 1:
        return slice(0, count)
    process = distributed.get_rank()
    return slice(count * process // processes(), count * (process + 1) // processes())


def gather_batch(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Each tensor, (B, ...), with the rows of all processes behind each other, in their order.

    Processes may have different numbers of rows. Where other axes differ, shorter ones are filled with zeros: padding.
    """
    if processes() == 1:
        return list(tensors)
    return [_gather(tensor, shapes) for tensor, shapes in zip(tensors, _shapes(tensors), strict=True)]


def sum_everywhere(tensor: Tensor) -> Tensor:
    """The sum over processes, the same in each."""
    return tensor if processes() == 1 else _Sum.apply(tensor)


def lowest_so_far(values: Tensor) -> Tensor:
    """(B,) -> (B,): the smallest of each row's and all earlier rows' values, rows of earlier processes included."""
    if processes() > 1:
        lowest = _Gather.apply(values.amin(dim=0, keepdim=True))  # (processes,)
        values = torch.cat([lowest[: distributed.get_rank()], values])
        return values.cummin(dim=0).values[distributed.get_rank() :]
    return values.cummin(dim=0).values


@contextmanager
def own_draws(device: torch.device) -> Iterator[None]:
    """Inside, each process draws numbers of its own (dropout); outside, all go on from the state they had together."""
    if processes() == 1:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(torch.initial_seed() + 1 + distributed.get_rank())
        yield


def _shapes(tensors: Sequence[Tensor]) -> list[Tensor]:
    """(processes, axes) int64 of each tensor: its shape in every process."""
    own = torch.tensor([[size for tensor in tensors for size in tensor.shape]], device=tensors[0].device)
    return list(_Gather.apply(own).cpu().split([tensor.ndim for tensor in tensors], dim=1))


def _gather(tensor: Tensor, shapes: Tensor) -> Tensor:
    missing = shapes.amax(dim=0) - torch.tensor(tensor.shape)
    padded = pad(tensor, [n for size in reversed(missing.tolist()) for n in (0, size)])
    parts = _Gather.apply(padded).chunk(processes())
    return torch.cat([part[:rows] for part, rows in zip(parts, shapes[:, 0].tolist(), strict=True)])


class _Gather(Function):
    """(B, ...) of the same shape everywhere -> (processes · B, ...)."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        everywhere = tensor.new_empty(processes() * len(tensor), *tensor.shape[1:])
        distributed.all_gather_into_tensor(everywhere, tensor.contiguous())
        return everywhere

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        own = gradient.new_empty(len(gradient) // processes(), *gradient.shape[1:])
        distributed.reduce_scatter_tensor(own, gradient.contiguous())
        return own


class _Sum(Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient)
