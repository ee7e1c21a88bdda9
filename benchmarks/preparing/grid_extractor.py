"""A backbone as an extractor of regions: pictures -> the cells of its grid, pooled to a fixed number."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from itm_harness.benchmarks.preparing.weight_revisions import backbone_revision, backbone_within_reach
from itm_harness.datasets.batch import Pixels
from itm_harness.datasets.pictures.batch_size import BatchSize
from itm_harness.datasets.pictures.pixels import PixelReader
from itm_harness.methods.encoders.backbone_names import OPEN_CLIP, TIMM, label
from itm_harness.methods.encoders.backbones import Backbone, backbone
from itm_harness.methods.encoders.weights import Asked

BATCH = BatchSize(cpu=32, gpu=256)  # pictures at a time
LIBRARIES = {TIMM: "timm", OPEN_CLIP: "open_clip_torch"}  # beside torch and torchvision
ASKED = Asked("--backbone ", "--backbone-weights ")
NONE = "none"  # --backbone-weights: random ones


class GridExtractor:
    """Features of a backbone's grid, averaged to cells × cells of them; bf16 (autocast) on a GPU, float32 on the CPU.

    name: of the backbone, as in GPO's grid.backbone. weights: a file, pretrained, or none (random, of seed 0). side:
    pictures are resized to side × side pixels, whatever their proportions.
    """

    pooling = ""
    fitted = True  # other splits need the same weights

    def __init__(self, name: str, weights: str, side: int, cells: int, batch: int | None = None) -> None:
        self._name, self._weights, self.side, self.cells = name, None if weights == NONE else weights, side, cells
        self._batch = replace(BATCH, asked=batch)

    @property
    def name(self) -> str:
        """The backbone and what it reads, as records show it."""
        return f"grid {self.cells} x {self.cells}, {label(self._name, self._weights)}, {self.side} pixels"

    weights = ""  # in the name

    @property
    def libraries(self) -> dict[str, str]:
        """Versions of what reads pictures and computes."""
        more = [library for prefix, library in LIBRARIES.items() if self._name.startswith(prefix)]
        return {name: metadata.version(name) for name in ("torch", "torchvision", "pillow", *more)}

    @property
    def batch(self) -> int:
        """Pictures at a time, as long as memory suffices."""
        return self._batch.size(self._device)

    @cached_property
    def revision(self) -> str:
        """The commit of the weights in their hub, "" where they do not come from its cache."""
        return backbone_revision(self._name, self._weights)

    @property
    def width(self) -> int:
        """Numbers of a region."""
        return self._backbone.width

    @cached_property
    def state(self) -> str:
        """Fingerprint of the weights as they were loaded."""
        digest = hashlib.sha256()
        for name, values in sorted(self._backbone.state_dict().items()):
            digest.update(name.encode() + values.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def grid(self) -> int:
        """Cells of the backbone along a side, before they are averaged."""
        with torch.no_grad():
            probe = torch.zeros(1, 3, self.side, self.side, dtype=torch.uint8, device=self._device)
            return round(self._backbone(probe).shape[1] ** 0.5)

    def require(self) -> None:
        """Raises MethodError where the backbone or its weights cannot be had."""
        _ = self._backbone

    @torch.no_grad()
    def extract(self, paths: Sequence[Path]) -> np.ndarray:
        """(n, cells², width) float32. Raises DataError where a picture cannot be decoded."""
        reader = PixelReader(paths, Pixels(self.side))
        batches = self._batch.over(range(len(paths)), self._device, lambda images: self._features(reader, images))
        return np.concatenate([found for _, found in batches])

    def _features(self, reader: PixelReader, images: Sequence[int]) -> np.ndarray:
        pixels = reader.read(np.asarray(images)).to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._device.type == "cuda"):
            found = self._backbone(pixels)  # (B, grid², width)
        return self._pooled(found.float()).cpu().numpy()

    def _pooled(self, found: Tensor) -> Tensor:
        grid = found.transpose(1, 2).unflatten(2, (self.grid, self.grid))  # (B, width, grid, grid)
        return adaptive_avg_pool2d(grid, self.cells).flatten(2).transpose(1, 2)

    @cached_property
    def _device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def _backbone(self) -> Backbone:
        torch.manual_seed(0)  # for random weights
        with backbone_within_reach(self._name, self._weights):
            found = backbone(self._name, self._weights, asked=ASKED)
        found.require_side(self.side, "--side ")
        return found.to(self._device).eval()
