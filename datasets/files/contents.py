"""What data holds, as a hash: of all of it, or of blocks of what is too large to be read for every run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

SAMPLED_FROM = 1 << 30  # bytes: an array of so many or more is hashed by blocks
BLOCKS, BLOCK = 64, 1 << 20  # evenly spaced blocks of a large array, and bytes of each
SAMPLED = "sampled:"  # how the hash of blocks begins
DIGITS = 32  # 128 bits


def lines_hash(lines: Iterable[str]) -> str:
    """Hash of texts in order."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:DIGITS]


def array_hash(array: np.ndarray, whole: bool = False) -> str:
    """Hash of an array's shape, type and values; of a large one only blocks, unless `whole`, and it says so.

    array: of numbers, in row order.
    """
    data = array.reshape(-1).view(np.uint8)  # (bytes,), a view
    digest = hashlib.sha256(f"{array.shape} {array.dtype.str}".encode())
    if whole or data.size < SAMPLED_FROM:
        digest.update(data)
        return digest.hexdigest()[:DIGITS]
    for start in np.linspace(0, data.size - BLOCK, BLOCKS, dtype=np.int64):
        digest.update(data[start : start + BLOCK])
    return SAMPLED + digest.hexdigest()[:DIGITS]
