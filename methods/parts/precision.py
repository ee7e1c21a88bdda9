"""Losses, norms and similarities are float32 whatever precision the encoders run in."""

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision becomes float32; float64 and whole numbers stay."""
    return values.to(torch.promote_types(values.dtype, torch.float32)) if values.is_floating_point() else values
