"""A list of the files of a generated data set, by which damage is noticed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

SEAL = "files.json"


def seal(root: Path) -> None:
    """Write the list of all files below `root`, and wait until all of them are on disk. Raises OSError."""
    files = {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}
    listed = {name: [path.stat().st_size, path.stat().st_mtime_ns, _hash(path)] for name, path in files.items()}
    (root / SEAL).write_text(json.dumps(listed, indent=0) + "\n", encoding="utf-8")
    os.sync()  # once, where a flush per picture would take as long as the drawing


def intact(root: Path) -> bool:
    """Is every listed file there, of its size, and untouched since, or else of the same content?"""
    try:
        listed = json.loads((root / SEAL).read_text(encoding="utf-8"))
        return all(_same(root / name, *told) for name, told in listed.items())
    except (OSError, ValueError, TypeError, AttributeError):
        return False


def _same(path: Path, size: int, changed: int, digest: str) -> bool:
    found = path.stat()
    return found.st_size == size and (found.st_mtime_ns == changed or _hash(path) == digest)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
