"""Whole arrays looked at chunk by chunk: rows that are not finite, rows that should be equal and are not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CHUNK_BYTES = 64 << 20  # read at a time


def non_finite_rows(array: np.ndarray) -> np.ndarray:
    """Rows that hold NaN or inf, found by their sums. array: (rows, ...) numbers. Returns (n,) int64."""
    bad = []
    for start, chunk in _chunks(array):
        with np.errstate(over="ignore", invalid="ignore"):
            sums = chunk.reshape(len(chunk), -1).sum(axis=1, dtype=np.float32)
        suspects = np.flatnonzero(~np.isfinite(sums))
        bad += [start + row for row in suspects if not np.isfinite(chunk[row]).all()]
    return np.array(bad, np.int64)


def differing_rows(array: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Rows that differ from the row that `model`, (rows,) int64, names for each. Works for records as well."""
    differing = [np.zeros(0, np.int64)]
    for start, chunk in _chunks(array):
        rows = np.ascontiguousarray(chunk).view(np.uint8).reshape(len(chunk), -1)  # bytes: NaN equals itself
        wanted = np.ascontiguousarray(array[model[start : start + len(chunk)]]).view(np.uint8)
        differing.append(start + np.flatnonzero((rows != wanted.reshape(len(chunk), -1)).any(axis=1)))
    return np.concatenate(differing)


def _chunks(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    size = max(1, CHUNK_BYTES * len(array) // max(array.nbytes, 1))
    for start in range(0, len(array), size):
        yield start, array[start : start + size]
