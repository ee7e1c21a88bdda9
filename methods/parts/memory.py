"""How much memory is free, for computations that choose their chunk size by it."""

from __future__ import annotations

import torch

UNASKED = 1 / 32  # of a GPU's memory: for less than that the driver is not asked, step by step, what is free


def free_bytes(device: torch.device) -> int:
    """Bytes that can still be allocated on `device`, PyTorch's own cached blocks included."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    import psutil  # only where it is needed: not for a GPU

    return psutil.virtual_memory().available


def device_bytes(device: torch.device) -> int:
    """Bytes of a GPU's whole memory, which PyTorch keeps at hand; 0 for a CPU, which is asked cheaply."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0


def chunk_size(item_bytes: int, n_items: int, device: torch.device, at_most: int, share: float = 0.25) -> int:
    """How many of n_items to compute at once: at most `share` of the free memory, and at most `at_most` bytes."""
    asked = item_bytes * n_items > UNASKED * device_bytes(device)
    budget = min(at_most, int(free_bytes(device) * share)) if asked else at_most
    return max(1, min(n_items, budget // max(1, item_bytes)))
