"""Checkpoints: safetensors for every tensor, JSON for the rest. Written atomically; nothing in them is executed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from typing_extensions import TypedDict  # of typing only from Python 3.12 on, as far as pydantic is concerned

from itm_harness.benchmarks.common.atomic import discard, sync
from itm_harness.benchmarks.common.errors import RunError

BEST = "best.safetensors"  # in a run's folder: the epoch that was selected
KEPT = 2
FORMAT = "itm-harness-1"  # of a model file; in its metadata, the key of what it says of itself


class About(TypedDict):
    """What a model file says of itself: enough to rebuild the method. dev_rsum: None = not selected on dev.

    vocabulary: None where the method reads no words. epoch: None where nothing was trained.
    """

    method: str
    variant: str
    dataset: str
    config: dict[str, Any]
    vocabulary: list[str] | None
    seed: int | None
    code_hash: str
    epoch: int | None
    dev_rsum: float | None


class Stateful(Protocol):
    """What can be saved: a module, an optimiser, or a Snapshot of one."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers by name, nested as they are."""


class Snapshot:
    """The state of a module or an optimiser at this moment, in host memory, whatever becomes of it afterwards.

    Takes as many bytes as the state itself, on a CPU too. A GPU's is copied behind all that is queued there.
    """

    def __init__(self, source: Stateful) -> None:
        self._state = _copied(source.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """The state as it was."""
        return self._state


def _copied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def save_model(path: Path, method: Stateful, about: About) -> None:
    """One file that `evaluate --checkpoint` reads. The same model gives the same bytes: safetensors writes several
    entries of metadata in any order, so there is one."""
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(part, _tensors(method.state_dict()), {FORMAT: json.dumps(about)})
        os.replace(part, path)
        sync(path.parent)
    except (SafetensorError, OSError) as error:
        discard(part)
        raise _unwritable(path, error) from error


def read_about(path: Path) -> About:
    """The description inside a model file, without its tensors; those of version 0.1 had two entries of metadata.

    Raises RunError where it is not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise _corrupt(path, error) from error
    older = metadata.get("about") if metadata.get("format") == FORMAT else None
    told = metadata.get(FORMAT, older)
    if told is None:
        raise RunError(
            f"checkpoint {path} was not written by this harness; give its best.safetensors or an official .pth."
        )
    try:
        return TypeAdapter(About).validate_json(told)
    except ValueError as error:
        raise _corrupt(path, error) from error


def load_model(path: Path, method: nn.Module) -> None:
    """Fill `method` with the tensors of a model file; missing and unexpected names are reported."""
    _load_state(method, _read(path), path)


class TrainingCheckpoints:
    """The checkpoints of one run: folders `step-<n>`, the newest two are kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, method: Stateful, optimizer: Stateful, state: dict[str, Any]) -> None:
        """A complete folder or none: it gets its name only when everything in it is on disk."""
        target = self.folder / f"step-{step:08d}"
        part = self.folder / f"{target.name}.part"
        tensors, scalars = _flatten_optimizer(optimizer)
        self._remove(self.folder.glob("*.part"))  # of saves that were killed
        try:
            part.mkdir(parents=True)
            _write(part / "model.safetensors", _tensors(method.state_dict()))
            _write(part / "optimizer.safetensors", tensors)
            _write_text(part / "state.json", json.dumps({**state, "optimizer": scalars}))
            sync(part)
            self._swap(part, target)
            sync(self.folder)
        except (SafetensorError, OSError) as error:
            self._remove([part])
            raise _unwritable(target, error) from error
        self._remove(self.all()[:-KEPT])

    @staticmethod
    def _remove(folders: Iterable[Path]) -> None:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _swap(self, part: Path, target: Path) -> None:
        """Name a finished folder. One of the same step is moved aside first: a kill never leaves half of either."""
        replaced = self.folder / f"{target.name}.old.part"
        if target.exists():
            os.replace(target, replaced)
        os.replace(part, target)
        self._remove([replaced])

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(p for p in self.folder.glob("step-*") if p.suffix != ".part")

    def load_newest(self, method: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
        """Restore the newest checkpoint and return its state; None where there is none."""
        if not self.all():
            return None
        newest = self.all()[-1]
        state = _read_json(newest / "state.json")
        _load_state(method, _read(newest / "model.safetensors"), newest / "model.safetensors")
        try:
            _restore_optimizer(optimizer, _read(newest / "optimizer.safetensors"), state.pop("optimizer"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _corrupt(newest, error) from error
        return state


def _tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().contiguous() for name, value in state.items()}


def _flatten_optimizer(optimizer: Stateful) -> tuple[dict[str, Tensor], dict[str, Any]]:
    state = optimizer.state_dict()
    tensors = {f"{index}/{name}": value for index, slots in state["state"].items() for name, value in slots.items()}
    return _tensors(tensors), {"param_groups": state["param_groups"]}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split("/", 1)
        slots.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": slots, "param_groups": scalars["param_groups"]})
    _lay_out_like_parameters(optimizer)


def _lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Files hold plain rows; the fused kernels walk through parameter and moments by one layout (channels_last)."""
    for parameter, slots in optimizer.state.items():
        for name, value in slots.items():
            if value.shape == parameter.shape and value.stride() != parameter.stride():
                slots[name] = torch.empty_like(parameter.detach()).copy_(value)


def _load_state(method: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    expected = method.state_dict()
    missing, unexpected = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
    wrong = sorted(n for n in set(expected) & set(tensors) if expected[n].shape != tensors[n].shape)
    if missing or unexpected or wrong:
        raise RunError(
            f"checkpoint {path} does not fit the method: missing {missing or 'none'}, "
            f"unexpected {unexpected or 'none'}, of another shape {wrong or 'none'}; "
            f"use the recipe it was trained with, or --fresh to train anew."
        )
    method.load_state_dict(tensors)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _corrupt(path, error) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _corrupt(path, error) from error


def _corrupt(path: Path, error: Exception) -> RunError:
    reason = " ".join(str(error).split())
    return RunError(
        f"checkpoint {path} is corrupt or incomplete ({reason}); delete it to go on without it, or use --fresh."
    )


def _unwritable(path: Path, error: Exception) -> RunError:
    return RunError(f"checkpoint {path} cannot be written ({error}); free some space or choose another --output.")


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    save_file(tensors, path, metadata=metadata)
    sync(path)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    sync(path)
