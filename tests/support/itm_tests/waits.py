"""Counts how often code waits for the device: seen on the CPU, by the operators that would wait on a GPU."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAIT = {"nonzero", "_local_scalar_dense", "masked_select", "multinomial", "repeat_interleave", "_unique2", "bincount"}
WAIT_FOR_MASKS = {"index", "index_put", "index_put_", "_index_put_impl_"}  # their number of elements is not known


class Waits(TorchDispatchMode):
    """`with Waits() as waits:` … `waits.found`: the names of the operators that wait, one per call."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in WAIT or (name in WAIT_FOR_MASKS and any(is_mask(index) for index in args[1])):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


def is_mask(index):
    return index is not None and index.dtype == torch.bool
