"""Official `.pth` checkpoints -> our modules: nothing in a file is executed, only tensors and options are read."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from itm_harness.methods.base import Method, MethodConfig
from itm_harness.methods.errors import MethodError
from itm_harness.methods.official import Official, Tensors

DATA_PARALLEL = "module."  # what DataParallel puts before every name

NAMED = 5  # names that an error message lists at most


def import_checkpoint(
    path: Path, method: type[Method], config: MethodConfig | None = None, extra: Tensors | None = None
) -> Method:
    """The method with the weights of an official checkpoint.

    config: for what the file does not determine. extra: tensors that the file lacks, under official names.
    Raises MethodError where the file cannot be read, does not hold what the method needs, or was trained with an option
    under which ours would compute other scores.
    """
    layout = method.official
    if layout is None:
        raise MethodError(f"{path}: there are no official checkpoints of method {method.name}; give one of ours.")
    parts, options = read_checkpoint(path)
    if len(parts) != len(layout.parts):
        raise MethodError(
            f"checkpoint {path} holds {len(parts)} state dicts, one of {method.name} holds {len(layout.parts)} "
            f"({', '.join(layout.parts)}); name its method with --method."
        )
    _require_options(path, layout, options)
    tensors = {
        f"{part}.{name}": t for part, state in zip(layout.parts, parts, strict=True) for name, t in state.items()
    }
    model = _built(path, method, tensors, options, config or method.Config())
    _fill(path, model, {**tensors, **(extra or {})})
    return model


def read_checkpoint(path: Path) -> tuple[list[Tensors], dict[str, Any]]:
    """The state dicts of an official checkpoint, without `module.`, and its training options.

    Raises MethodError where the file is missing, corrupt, holds other objects, or is no checkpoint.
    """
    if not path.is_file():
        raise MethodError(f"checkpoint {path} does not exist; give the path of an official .pth file.")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make the unpickler raise anything
        raise MethodError(_refusal(path)) from error
    states = content.get("model") if isinstance(content, dict) else None
    if not isinstance(states, list | tuple) or not all(_is_state(s) for s in states):
        raise MethodError(f"{path} is no official checkpoint: it holds no list of state dicts under 'model'.")
    stripped = [{name.removeprefix(DATA_PARALLEL): value for name, value in state.items()} for state in states]
    options = content.get("opt")
    return stripped, vars(options) if isinstance(options, argparse.Namespace) else {}


def _refusal(path: Path) -> str:
    try:
        foreign = set(torch.serialization.get_unsafe_globals_in_checkpoint(path)) - {"argparse.Namespace"}
    except Exception:  # not even a torch file
        foreign = set()
    if foreign:
        return (
            f"checkpoint {path} holds objects of {_some(sorted(foreign))}, which are not loaded because that could "
            f"execute code; save its state dicts alone."
        )
    return f"checkpoint {path} is damaged or no PyTorch checkpoint; download it again."


def _is_state(state: Any) -> bool:
    return isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values())


def _require_options(path: Path, layout: Official, options: dict[str, Any]) -> None:
    try:
        layout.require_options(options)
    except MethodError as error:
        raise MethodError(f"checkpoint {path} {error}") from error


def _built(path: Path, method: type[Method], tensors: Tensors, options: dict[str, Any], config: MethodConfig) -> Method:
    """The method in the sizes that a checkpoint determines, with its first weights."""
    try:
        found = method.official.configure(tensors, options, config)
        return method(method.Config.model_validate(_merged(config.model_dump(), found)))
    except KeyError as error:
        raise MethodError(
            f"checkpoint {path} holds no {error}, so it is not one of {method.name}; name its method with --method."
        ) from error
    except (ValueError, TypeError, ArithmeticError, RuntimeError, MemoryError) as error:
        raise MethodError(
            f"checkpoint {path} holds tensors or options that make no {method.name} ({' '.join(str(error).split())}); "
            f"name its method with --method, or download it again."
        ) from error


def _merged(values: dict[str, Any], updates: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in updates.items():
        nested = isinstance(value, dict) and isinstance(values.get(key), dict)
        merged[key] = _merged(values[key], value) if nested else value
    return merged


def _fill(path: Path, model: Method, tensors: Tensors) -> None:
    layout, state = model.official, model.state_dict()
    ours, unexpected = {}, []
    for name, value in tensors.items():
        try:
            ours[layout.our_name(name)] = value
        except KeyError:
            unexpected.append(name)
    ours.pop(None, None)
    unexpected += [name for name in ours if name not in state]
    missing = [name for name in state if name not in ours and not name.startswith(layout.absent)]
    reshaped = [name for name in ours if name in state and ours[name].shape != state[name].shape]
    if missing or unexpected or reshaped:
        faults = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
        listed = "; ".join(f"{what}: {_some(names)}" for what, names in faults.items() if names)
        raise MethodError(
            f"checkpoint {path} does not fit method {model.name} ({listed}); "
            f"check --method, --variant and the recipe that it was trained with."
        )
    model.load_state_dict(ours, strict=False)


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
