"""What lies below the libraries that compute: operating system, BLAS, CUDA and its driver."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import torch

DRIVER = Path("/proc/driver/nvidia/version")


def system_versions(device: torch.device) -> dict[str, str]:
    """Versions by name; of CUDA and the driver only where `device` is a GPU."""
    found = {"os": operating_system(), "blas": blas(torch.__config__.show())}
    if device.type == "cuda":
        found |= {"cuda": str(torch.version.cuda), "driver": driver()}
    return found


def operating_system() -> str:
    """Kernel and C library. Of a kernel only its numbers: what follows them names whoever built it."""
    numbers = re.match(r"[\d.]*\d", platform.release())
    kernel = f"{platform.system()} {numbers.group() if numbers else ''}".strip()
    return ", ".join(filter(None, (kernel, " ".join(platform.libc_ver()).strip())))


def blas(configuration: str) -> str:
    """Name and version of the matrix library of a build of torch. configuration: what torch says of itself."""
    name = re.search(r"BLAS_INFO=(\w+)", configuration)
    version = re.search(r"Math Kernel Library Version (\S+?)-", configuration)
    return " ".join(found.group(1) for found in (name, version) if found) or "unknown"


def driver(file: Path = DRIVER) -> str:
    """The version of NVIDIA's driver."""
    try:
        version = re.search(r"\b\d+\.\d+(\.\d+)?\b", file.read_text(encoding="utf-8"))
    except OSError:
        version = None
    return version.group() if version else "unknown"
