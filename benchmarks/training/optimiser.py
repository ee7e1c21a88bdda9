"""The optimiser of a recipe, with the method's parameter groups."""

from __future__ import annotations

import torch

from itm_harness.methods.base import Group, Method
from itm_harness.methods.errors import MethodError
from itm_harness.methods.recipe import Optim

KINDS: dict[str, type[torch.optim.Optimizer]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


def build_optimizer(method: Method, optim: Optim) -> torch.optim.Optimizer:
    """AdamW or Adam over the method's groups, in their order; each keeps its `initial_lr` for the schedule.

    Fused: all parameters of a device in one pass, and a step is left out where the optimiser's `found_inf` is 1.
    Raises MethodError where a trained parameter is in no group or in two.
    """
    groups = method.parameter_groups()
    _require_each_once(method, groups)
    options = [
        {
            "params": group.parameters,
            "lr": optim.lr * group.lr_factor,
            "initial_lr": optim.lr * group.lr_factor,
            "weight_decay": optim.weight_decay if group.weight_decay is None else group.weight_decay,
        }
        for group in groups
    ]
    return KINDS[optim.name](options, lr=optim.lr, weight_decay=optim.weight_decay, fused=True)


def _require_each_once(method: Method, groups: list[Group]) -> None:
    grouped = [id(p) for group in groups for p in group.parameters]
    names = {id(p): name for name, p in method.named_parameters() if p.requires_grad}
    forgotten = [name for key, name in names.items() if key not in set(grouped)]
    if forgotten or len(grouped) != len(set(grouped)):
        raise MethodError(
            f"parameter_groups() of {method.name} leaves out {forgotten or 'none'} or names a parameter twice; "
            f"name every trained parameter once."
        )
