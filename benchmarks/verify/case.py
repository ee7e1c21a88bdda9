"""A golden case on disk: case.json, inputs.npz, expected.npz and, for whole models, checkpoint.pth."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.verify.report import Report

COMPANION = "_atol"  # <array>_atol holds the tolerance of each element of <array>


@dataclass
class Case:
    """A case and the report on it. about: case.json; inputs, expected: arrays by name."""

    folder: Path
    about: dict[str, Any]
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    report: Report = field(init=False)

    def __post_init__(self) -> None:
        arrays = frozenset(name for name in self.expected if not self._is_companion(name))
        self.report = Report(f"{self.family}/{self.about['case']}", arrays)

    def _is_companion(self, name: str) -> bool:
        return name.endswith(COMPANION) and name.removesuffix(COMPANION) in self.expected

    @property
    def family(self) -> str:
        """The method, or `protocol` or `text`: which module checks the case."""
        return self.about["method"]

    @property
    def config(self) -> dict[str, Any]:
        """The case's hyper-parameters."""
        return self.about.get("config", {})

    @property
    def checkpoint(self) -> Path:
        """Where the official checkpoint lies, if the case has one."""
        return self.folder / "checkpoint.pth"

    def setting(self, name: str) -> Any:
        """A hyper-parameter. Raises RunError where the case does not name it."""
        if name not in self.config:
            raise RunError(f"{self.folder / 'case.json'}: 'config' has no '{name}', which this kind of case needs.")
        return self.config[name]

    def input(self, name: str) -> Tensor:
        """An input. Raises RunError where the case lacks it."""
        if name not in self.inputs:
            raise RunError(f"{self.folder / 'inputs.npz'}: there is no array '{name}', which this kind of case needs.")
        return torch.from_numpy(self.inputs[name])

    def inputs_below(self, prefix: str) -> dict[str, Tensor]:
        """Inputs whose names begin with `prefix`, without it."""
        return {n.removeprefix(prefix): torch.from_numpy(a) for n, a in self.inputs.items() if n.startswith(prefix)}

    def expects(self, name: str) -> bool:
        """Is there such an expected array?"""
        return name in self.expected

    def compare(self, name: str, value: Tensor | np.ndarray | float | list[float]) -> None:
        """Compare a value with the expected array of that name; nothing happens where there is none.

        Integers and booleans exactly, floats within the case's tolerance; NaN and infinities where they are expected.
        """
        if not self.expects(name):
            return
        found = np.asarray(value.detach().cpu().numpy() if isinstance(value, Tensor) else value)
        expected = self.expected[name]
        if found.shape != expected.shape:
            self.report.add(name, np.inf, 0, f"shape {found.shape}, not {expected.shape}")
            return
        error, tolerance = worst(difference(found, expected), self.tolerance(name))
        self.report.add(name, error, tolerance)

    def compare_within(self, name: str, found: np.ndarray, tolerance: np.ndarray, counts: np.ndarray) -> None:
        """As compare, with a tolerance per element, and only the elements that count. All (n,)."""
        if self.expects(name):
            errors = difference(found, self.expected[name])
            self.report.add(name, *worst(errors[counts], tolerance[counts]))

    def tolerance(self, name: str) -> np.ndarray:
        """Largest permitted difference, for the array or for each of its elements; 0 for integers and booleans."""
        if self.expected[name].dtype.kind != "f":
            return np.zeros(())
        if name + COMPANION in self.expected:
            return self.expected[name + COMPANION]
        return np.array(self.about.get("atol", {}).get(name, 0), np.float64)


def difference(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """|found − expected| in double precision; 0 where both are NaN or the same infinity, inf where one alone is."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        return np.where(same, 0, np.nan_to_num(np.abs(found - expected), nan=np.inf, posinf=np.inf))


def worst(errors: np.ndarray, tolerance: np.ndarray) -> tuple[float, float]:
    """The error and the tolerance of the element whose error exceeds its tolerance most, or comes closest to it."""
    if errors.size == 0:
        return 0.0, float(np.max(tolerance, initial=0))
    tolerances = np.broadcast_to(tolerance, errors.shape)
    place = np.argmax(errors - tolerances)
    return float(errors.flat[place]), float(tolerances.flat[place])


def read_case(folder: Path) -> Case:
    """Raises RunError where a file is missing or broken."""
    about_file = folder / "case.json"
    try:
        about = json.loads(about_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{about_file} cannot be read as JSON ({error}); copy the golden case again.") from error
    if not isinstance(about, dict) or not {"method", "case"} <= set(about):
        raise RunError(f"{about_file} names no method and case; it is no golden case, see tests/golden/README.md.")
    return Case(folder, about, _read_arrays(folder / "inputs.npz"), _read_arrays(folder / "expected.npz"))


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, BadZipFile, EOFError, AttributeError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise RunError(f"{path} {reason}; copy the golden case again.") from error
