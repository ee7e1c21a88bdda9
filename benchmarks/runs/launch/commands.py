"""The command of one run of a sweep, complete: it runs as it is, in the folder where the sweep was asked for."""

from __future__ import annotations

import json
import shlex
from typing import Any

from itm_harness.benchmarks.runs.sweep import Planned
from itm_harness.methods.recipe import parse_override


def arguments(run: Planned, device: str | None = None) -> list[str]:
    """What stands behind `itm`."""
    options = run.options
    found = ["run", "--method", options.method, "--dataset", options.dataset, "--seeds", str(run.seed)]
    for key, value in options.overrides.items():
        found += ["--set", f"{key}={_text(key, value)}"]
    given = {
        "--data-root": options.data_root,
        "--variant": options.variant,
        "--limit": options.limit,
        "--device": device,
        "--precision": None if options.precision == "fp32" else options.precision,
        "--output": None if str(options.output) == "." else options.output,
        "--features": None if options.features == "auto" else options.features,
        "--hash": "full" if options.hash_whole else None,
    }
    for option, value in given.items():
        found += [] if value is None else [option, str(value)]
    flags = {
        "--fresh": options.fresh,
        "--tensorboard": options.tensorboard,
        "--deterministic": options.deterministic,
        "--compile": options.compile,
    }
    return found + [flag for flag, is_set in flags.items() if is_set]


def command(run: Planned, device: str | None = None) -> str:
    """A line for a shell."""
    return f"itm {shlex.join(arguments(run, device))}"


def _text(key: str, value: Any) -> str:
    """A value as --set reads it back."""
    if isinstance(value, str) and parse_override(f"{key}={value}")[1] == value:
        return value
    return json.dumps(value)
