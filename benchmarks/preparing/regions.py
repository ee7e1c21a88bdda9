"""prepare --what regions: grid features of a backbone in SCAN's layout, so that pictures and captions are enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from itm_harness.benchmarks.preparing.content import (
    Content,
    Target,
    encoded_manifest,
    fingerprint,
    shown,
    whole_batches,
)
from itm_harness.benchmarks.preparing.grid_extractor import GridExtractor
from itm_harness.benchmarks.preparing.product import Product
from itm_harness.datasets.files.manifest import Manifest
from itm_harness.datasets.pictures.folder import find_pictures
from itm_harness.datasets.pictures.grid import cell_boxes, picture_sizes

STEP = 256  # pictures, at least


class Regions(Product):
    """{split}_ims.npy, and the cells' boxes and the pictures' sizes where the data set declares files for them."""

    name = "regions"

    def targets(self) -> list[Target]:
        """Features, boxes and sizes of each split."""
        return [target for split in self.job.splits for target in self._of_split(split)]

    @cached_property
    def extractor(self) -> GridExtractor:
        """The backbone, which loads its weights when it is first used."""
        asked = self.job.options
        return GridExtractor(asked.backbone, asked.backbone_weights, asked.side, asked.cells, asked.batch_size)

    def _of_split(self, split: str) -> list[Target]:
        dataset, images = self.job.dataset, self.job.options.images

        def check() -> None:
            find_pictures(dataset, split, images)
            self.extractor.require()

        def of(kind: type[Content]) -> Callable[[], Content]:
            return lambda: kind(find_pictures(dataset, split, images), self.extractor)

        kinds = {sidecar.kind for sidecar in dataset.spec.sidecars.values()}
        targets = [Target(dataset.features_path(split), split, of(Features), check=check)]
        if "boxes" in kinds:
            targets.append(self.target(split, "{split}_ims_bbx.npy", of(Boxes), check=check))
        if "sizes" in kinds:
            targets.append(self.target(split, "{split}_ims_size.npy", of(Sizes), check=check))
        return targets


@dataclass(frozen=True)
class Features:
    """(pictures, cells, width) float32."""

    paths: Sequence[Path]
    extractor: GridExtractor

    @property
    def step(self) -> int:
        """Pictures at a time."""
        return whole_batches(self.extractor, STEP)

    @property
    def manifest(self) -> Manifest:
        """Shape and origin."""
        shape = (len(self.paths), self.extractor.cells**2, self.extractor.width)
        return encoded_manifest(self.extractor, shown(self.paths), shape, "float32")

    def rows(self, start: int, stop: int) -> np.ndarray:
        """The cells of some pictures."""
        return self.extractor.extract(self.paths[start:stop])


@dataclass(frozen=True)
class Boxes:
    """(pictures, cells, 4) float32: x1, y1, x2, y2 in the pixels of each picture."""

    paths: Sequence[Path]
    extractor: GridExtractor
    step: ClassVar[int] = STEP

    @property
    def manifest(self) -> Manifest:
        """Shape and origin."""
        cells = self.extractor.cells
        return Manifest(
            encoder=f"grid {cells} x {cells} of {self.extractor.grid} x {self.extractor.grid}",
            fitted=False,
            texts=fingerprint(shown(self.paths)),
            state="",
            shape=(len(self.paths), cells**2, 4),
            dtype="float32",
        )

    def rows(self, start: int, stop: int) -> np.ndarray:
        """The boxes of some pictures."""
        corners = np.tile(picture_sizes(self.paths[start:stop]), 2).astype(np.float32)  # (n, 4): w, h, w, h
        return cell_boxes(self.extractor.cells, self.extractor.grid) * corners[:, None]


@dataclass(frozen=True)
class Sizes:
    """(pictures, 2) int32: width and height in pixels."""

    paths: Sequence[Path]
    extractor: GridExtractor
    step: ClassVar[int] = STEP

    @property
    def manifest(self) -> Manifest:
        """Shape and origin."""
        return Manifest(
            encoder="sizes of pictures",
            fitted=False,
            texts=fingerprint(shown(self.paths)),
            state="",
            shape=(len(self.paths), 2),
            dtype="int32",
        )

    def rows(self, start: int, stop: int) -> np.ndarray:
        """The sizes of some pictures."""
        return picture_sizes(self.paths[start:stop])
