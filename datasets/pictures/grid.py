"""Grids over pictures: where their cells lie, and how large the pictures are."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from itm_harness.datasets.pictures.folder import is_turned, open_picture


def cell_boxes(side: int, grid: int) -> np.ndarray:
    """(side², 4) float32: x1, y1, x2, y2 of each cell in 0..1, row by row.

    grid: cells of a backbone along a side, pooled to `side` of them: as adaptive pooling does, cell i covers those from
    floor(i · grid / side) to ceil((i + 1) · grid / side).
    """
    cell = np.arange(side)
    begin, end = cell * grid // side / grid, -((-(cell + 1) * grid) // side) / grid
    corners = [np.tile(begin, side), np.repeat(begin, side), np.tile(end, side), np.repeat(end, side)]
    return np.stack(corners, axis=1).astype(np.float32)


def picture_sizes(paths: Sequence[Path]) -> np.ndarray:
    """(n, 2) int32: width and height in pixels. Raises DataError where a file is no picture."""
    with ThreadPoolExecutor() as pool:
        return np.array(list(pool.map(_size, paths)), np.int32).reshape(-1, 2)


def _size(path: Path) -> tuple[int, int]:
    with suppress(Exception), Image.open(path) as picture:  # the sentence about a fault is open_picture's
        if not is_turned(picture):
            return picture.size
    return open_picture(path).size
