"""The two ways in which the official implementations normalise."""

from torch import Tensor

from itm_harness.methods.parts.precision import at_least_float32


def l2norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """x / (‖x‖ + eps) over the last axis, at least in float32: the norm of embeddings."""
    x = at_least_float32(x)
    return x / (x.norm(dim=-1, keepdim=True) + eps)
