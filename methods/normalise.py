"""The two ways in which the official implementations normalise."""

from torch import Tensor


def l2norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """x / (‖x‖ + eps) over the last axis, in float32: the norm of embeddings."""
    x = x.float()
    return x / (x.norm(dim=-1, keepdim=True) + eps)
