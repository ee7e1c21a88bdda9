"""Cells of a grid in a picture, and sizes of pictures."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.pictures.grid import cell_boxes, picture_sizes


def test_cells_that_divide_the_grid():
    np.testing.assert_allclose(
        cell_boxes(2, 4), [[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]]
    )
    assert cell_boxes(6, 6).shape == (36, 4)


@pytest.mark.parametrize(("side", "grid"), [(2, 4), (6, 7), (3, 7), (6, 3), (1, 5), (5, 5)])
def test_a_box_covers_what_pooling_averages(side, grid):
    """Each cell of the backbone alone is lit; it changes the pooled cells whose boxes hold its middle, no others."""
    lit = torch.eye(grid * grid).reshape(1, -1, grid, grid)
    changed = adaptive_avg_pool2d(lit, side).flatten(2)[0].T.numpy() > 0  # (side², grid²)
    middle = (np.indices((grid, grid)).reshape(2, -1) + 0.5) / grid  # y, x of each cell
    x1, y1, x2, y2 = cell_boxes(side, grid).astype(float).T[:, :, None]
    holds = (x1 < middle[1]) & (middle[1] < x2) & (y1 < middle[0]) & (middle[0] < y2)
    np.testing.assert_array_equal(holds, changed)


def test_sizes_are_width_and_height(tmp_path):
    for i, size in enumerate([(30, 20), (5, 8)]):
        Image.new("RGB", size).save(tmp_path / f"{i}.png")
    sizes = picture_sizes([tmp_path / "0.png", tmp_path / "1.png"])
    assert (sizes.tolist(), sizes.dtype) == ([[30, 20], [5, 8]], np.int32)
    (tmp_path / "2.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"2.png cannot be decoded"):
        picture_sizes([tmp_path / "2.png"])
