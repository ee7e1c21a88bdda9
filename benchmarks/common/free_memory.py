"""How much memory is free for a computation, on the host within the limits of its control groups, or on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

ROOT = Path("/")
V1, V2 = ("memory.limit_in_bytes", "memory.usage_in_bytes"), ("memory.max", "memory.current")


def free_memory(device: torch.device) -> int:
    """Bytes that can be taken on `device` without swapping or an out-of-memory error."""
    if device.type != "cuda":
        import psutil

        return min([psutil.virtual_memory().available, *group_limits()])
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, for later use
    return torch.cuda.mem_get_info(device)[0] + kept


def group_limits(root: Path = ROOT) -> list[int]:
    """What each control group of this process leaves of its memory limit (Slurm and containers set them), in bytes."""
    found = []
    for folder, (limit, usage) in _groups(root):
        allowed, used = _lines(folder / limit), _lines(folder / usage)
        if allowed and used and allowed[0] != "max":
            found.append(max(0, int(allowed[0]) - int(used[0]) + _droppable(folder)))
    return found


def _groups(root: Path) -> Iterator[tuple[Path, tuple[str, str]]]:
    """The groups of both versions, from the innermost outwards, with the names of their files."""
    top = root / "sys" / "fs" / "cgroup"
    for line in _lines(root / "proc" / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            mount, names = (top / "memory", V1) if controllers else (top, V2)
            inner = mount / path.lstrip("/")
            yield from ((folder, names) for folder in (inner, *inner.parents) if folder.is_relative_to(mount))


def _droppable(group: Path) -> int:
    """Pages of files that the kernel keeps in memory and can drop."""
    stat = dict(line.split() for line in _lines(group / "memory.stat"))
    return sum(int(stat.get(f"total_{kind}", stat.get(kind, 0))) for kind in ("active_file", "inactive_file"))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
