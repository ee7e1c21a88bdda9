"""Pictures as tensors: decoded and resized by several threads, cut and mirrored by draws that are made beforehand."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from itm_harness.datasets.batch import Pixels
from itm_harness.datasets.files.contents import BLOCKS, SAMPLED, SAMPLED_FROM, lines_hash
from itm_harness.datasets.pictures.folder import open_picture

CUTS = 4  # random numbers of a picture: size, left, top, mirroring
Box = tuple[int, int, int, int]  # left, top, right, bottom


class PixelReader:
    """The pictures of a split. paths: one per image."""

    def __init__(self, paths: Sequence[Path], pixels: Pixels) -> None:
        self.paths, self.pixels = paths, pixels

    def read(self, images: np.ndarray, cuts: np.ndarray | None = None) -> Tensor:
        """(B, 3, side, side) uint8 of the images at these positions, laid out channels last.

        cuts: for training, (B, CUTS) in [0, 1), what is cut and mirrored. Raises DataError where a picture cannot be
        decoded.
        """
        draws = [None] * len(images) if cuts is None else cuts.tolist()
        result = np.empty((len(images), self.pixels.side, self.pixels.side, 3), np.uint8)

        def fill(row: int) -> None:
            result[row] = pixels_of(self.paths[images[row]], self.pixels, draws[row])

        list(self._pool.map(fill, range(len(images))))  # PIL decodes and resizes outside the interpreter's lock
        return torch.from_numpy(result).permute(0, 3, 1, 2)

    def content_hash(self, whole: bool = False) -> str:
        """Hash of the names and contents of all files; of more than 1 GB the contents are sampled, and it says so."""
        sizes = [path.stat().st_size for path in self.paths]
        sampled = sum(sizes) >= SAMPLED_FROM and not whole
        read = np.linspace(0, len(sizes) - 1, min(BLOCKS, len(sizes)), dtype=np.int64) if sampled else range(len(sizes))
        named = [f"{path.name} {size}" for path, size in zip(self.paths, sizes, strict=True)]
        contents = [hashlib.sha256(self.paths[image].read_bytes()).hexdigest() for image in read]
        return (SAMPLED if sampled else "") + lines_hash([*named, *contents])

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_cores(), thread_name_prefix="pictures")


def pixels_of(path: Path, pixels: Pixels, draw: Sequence[float] | None = None) -> np.ndarray:
    """(side, side, 3) uint8. draw: its CUTS numbers in [0, 1); None: as in tests."""
    picture = open_picture(path, smallest=pixels.side)
    filter_ = Image.Resampling.BICUBIC if pixels.bicubic else Image.Resampling.BILINEAR
    box = cut(*picture.size, pixels, draw)
    values = np.asarray(picture.resize((pixels.side, pixels.side), filter_, box))
    return values[:, ::-1] if pixels.flip and draw is not None and draw[3] < 0.5 else values


def cut(width: int, height: int, pixels: Pixels, draw: Sequence[float] | None) -> Box:
    """Which part of a picture is shown. For training both sides shrink by one ratio (VSE∞, released code)."""
    shown = np.array([min(width, height)] * 2 if pixels.square else [width, height])
    place = np.array([0.5, 0.5])  # the middle
    if draw is not None:
        share = pixels.crop + (1 - pixels.crop) * draw[0]
        shown, place = np.maximum((shown * share).astype(int), 1), np.array(draw[1:3])
    left, top = ((np.array([width, height]) - shown + (draw is not None)) * place).astype(int)
    return int(left), int(top), int(left + shown[0]), int(top + shown[1])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
