"""Where a result is from: code revision, versions, hardware, memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from itm_harness.benchmarks.records.code_hash import ROOT
from itm_harness.benchmarks.records.schema import Hardware, Memory, Revision

if TYPE_CHECKING:
    import torch

CODE = ("harness.py", "methods", "datasets", "benchmarks")
LIBRARIES = ("torch", "transformers", "accelerate", "numpy")


def git_revision(root: Path = ROOT) -> Revision:
    """The checkout's commit, and whether its code differs from it; unknown without git or outside a repository."""
    top = _git(root, "rev-parse", "--show-toplevel")
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", *CODE)
    if not top or not commit or changes is None or Path(top).resolve() != root.resolve():
        return Revision()
    return Revision(commit=commit, dirty=bool(changes))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def versions() -> dict[str, str]:
    """Versions of Python, the libraries that compute, and this harness."""
    libraries = {name: _version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), **libraries, "harness": _version("itm-harness")}


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def hardware(device: torch.device, processes: int = 1) -> Hardware:
    """What a run on `device` runs on. Models of parts only: no host names."""
    import torch  # loaded already, where there is a device to ask about

    return Hardware(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper(),
        cpu=_processor(),
        cores=available_cores(),
        processes=processes,
        threads=torch.get_num_threads(),
        instructions=torch.backends.cpu.get_cpu_capability(),
    )


def available_cores() -> int:
    """Cores that this process may use, not those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next((n for n in [*names, platform.processor(), platform.machine()] if n), "unknown")


def peak_memory(device: torch.device) -> Memory:
    """The largest memory of this process so far, on the host and on `device`, in bytes."""
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    if device.type != "cuda":
        return Memory(host=host)
    import torch  # loaded already, as above

    return Memory(host=host, device=torch.cuda.max_memory_allocated(device))
