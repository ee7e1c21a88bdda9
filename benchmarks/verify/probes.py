"""Gradients and changes of parameters as aahr's, vsd's and vssr's cases record them: norms and probes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from itm_harness.benchmarks.verify.models import Model


def compare_gradients(model: Model, prefix: str) -> None:
    """grad_norm, grad_probe, grad_none of every official parameter, and the norm of all."""
    case, names = model.case, model.case.about["param_names"]
    gradients = [None if p is None else p.grad for p in map(model.parameter, names)]
    case.compare(f"{prefix}/grad_none", np.array([g is None for g in gradients]))
    norms, probes = norms_and_probes(torch.zeros(1) if g is None else g for g in gradients)
    case.compare(f"{prefix}/grad_norm", norms)
    case.compare(f"{prefix}/grad_probe", probes)
    case.compare(f"{prefix}/grad_total_norm", float(np.linalg.norm(norms)))


def norms_and_probes(tensors: Iterable[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """‖x‖ and the probe of each tensor."""
    kept = list(tensors)
    return np.array([float(x.detach().double().norm()) for x in kept]), np.array([probe(x) for x in kept])


def probe(tensor: Tensor) -> float:
    """Σ xᵢ · cos(0.1 (i + 1)) over the flattened tensor."""
    flat = tensor.detach().double().flatten()
    return float(flat @ torch.cos(0.1 * torch.arange(1, len(flat) + 1, dtype=torch.float64)))
