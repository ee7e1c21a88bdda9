"""Where a result is from: code revision, hash of the code behind the numbers, versions, hardware, memory."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import torch

from benchmarks.records import Hardware, Memory, Revision

ROOT = Path(__file__).resolve().parent.parent
CODE = ("harness.py", "methods", "datasets", "benchmarks")
LIBRARIES = ("torch", "transformers", "accelerate", "numpy")

PACKAGES = ("methods", "datasets", "benchmarks")
ENTRIES = ("benchmarks/engine.py", "benchmarks/evaluate.py", "benchmarks/scoring.py")

# Imported by the above without a say in the numbers: they show, store, find or raise. The demo data set's generator is
# not code behind a run either: what it wrote is in the record's data fingerprint.
NOT_BEHIND_A_RUN = (
    "benchmarks/activity.py", "benchmarks/atomic.py", "benchmarks/background_writer.py", "benchmarks/display.py",
    "benchmarks/errors.py", "benchmarks/interrupt.py", "benchmarks/records.py", "benchmarks/shared_stop.py",
    "datasets/demo/", "datasets/errors.py", "methods/errors.py", "methods/registry.py",
)  # fmt: skip


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


def code_hash(files: Iterable[Path], root: Path = ROOT) -> str:
    """SHA-256 over names and contents of source files; line ends and the checkout's place do not matter.

    A file outside `root` (a user's own method) enters by its name alone.
    """
    digest = hashlib.sha256()
    for name, path in sorted((_name(path, root), path) for path in files):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{name}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _name(path: Path, root: Path) -> str:
    resolved = path.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else resolved.name


def code_behind(method_file: Path, root: Path = ROOT) -> list[Path]:
    """The source files that determine a method's numbers: its own, training, evaluation, and all that these import.

    Other methods' files do not count: a change in one must not make another's records stale.
    """
    found: set[Path] = set()
    pending = [method_file.resolve(), *(root / entry for entry in ENTRIES)]
    while pending:
        path = pending.pop()
        if path not in found and path.is_file() and not _name(path, root).startswith(NOT_BEHIND_A_RUN):
            found.add(path)
            pending += [module for name in _imports(path) for module in _module_files(name, root)]
    return sorted(found)


def method_code_hash(method_files: Iterable[Path]) -> str:
    """Hash of the code behind the numbers of a method: its file, and that of the method it is put on."""
    return code_hash({path for file in method_files for path in code_behind(file)})


def _module_files(name: str, root: Path) -> list[Path]:
    """Where a module of the checkout may lie; nothing for a library's."""
    if name.split(".")[0] not in PACKAGES:
        return []
    path = root.joinpath(*name.split("."))
    return [path.with_suffix(".py"), path / "__init__.py"]


def _imports(path: Path) -> Iterable[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


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
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()
    return Hardware(device=name, cpu=_processor(), cores=available_cores(), processes=processes)


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
    return Memory(host=host, device=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None)
