"""Pictures, decoded one and all: which of them are broken."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from datasets.errors import DataError
from datasets.pictures import open_picture

LISTED = 20  # broken pictures that get a sentence each


def broken_pictures(paths: Sequence[Path]) -> list[str]:
    """A sentence per picture that cannot be decoded, then how many more there are; empty where all are intact."""
    with ThreadPoolExecutor() as pool:
        faults = [fault for fault in pool.map(_fault, paths) if fault]
    more = len(faults) - LISTED
    return faults[:LISTED] + ([f"{more:,} more pictures of {paths[0].parent} cannot be decoded."] if more > 0 else [])


def _fault(path: Path) -> str | None:
    try:
        open_picture(path)
    except DataError as error:
        return str(error)
    return None
