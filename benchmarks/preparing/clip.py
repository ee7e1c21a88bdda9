"""prepare --what clip: CLIP vectors of pictures and captions, by open_clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from itm_harness.benchmarks.preparing.clip_encoder import CLIPEncoder, model_label
from itm_harness.benchmarks.preparing.content import Target, encoded_manifest, shown, whole_batches
from itm_harness.benchmarks.preparing.product import Product
from itm_harness.benchmarks.preparing.sentences import Sentences
from itm_harness.datasets.files.manifest import Manifest
from itm_harness.datasets.pictures.folder import find_pictures

STEP = 256  # pictures, at least


class CLIPVectors(Product):
    """They lie beside the features, as {split}_clip_MODEL_ims.npy and _caps.npy."""

    name = "clip"

    def targets(self) -> list[Target]:
        """Pictures and captions of each split."""
        return [target for split in self.job.splits for target in (self._pictures(split), self._captions(split))]

    @cached_property
    def encoder(self) -> CLIPEncoder:
        """CLIP, which loads its weights when it is first used."""
        options = self.job.options
        return CLIPEncoder(options.clip_model, options.clip_weights, options.batch_size)

    def _pictures(self, split: str) -> Target:
        dataset, images = self.job.dataset, self.job.options.images

        def content() -> Pictures:
            return Pictures(find_pictures(dataset, split, images), self.encoder)

        return self.target(
            split, self._name("ims"), content, check=lambda: find_pictures(dataset, split, images), alone=True
        )

    def _captions(self, split: str) -> Target:
        def content() -> Sentences:
            return Sentences(self.job.dataset.layout(split).captions, self.encoder)

        return self.target(split, self._name("caps"), content, alone=True)

    def _name(self, side: str) -> str:
        return f"{{split}}_clip_{model_label(self.job.options.clip_model)}_{side}.npy"


@dataclass(frozen=True)
class Pictures:
    """(pictures, width) float32: a vector per picture. Names and sizes of the files stand for what they show."""

    paths: Sequence[Path]
    encoder: CLIPEncoder

    @property
    def step(self) -> int:
        """Pictures at a time."""
        return whole_batches(self.encoder, STEP)

    @property
    def manifest(self) -> Manifest:
        """Shape and origin."""
        return encoded_manifest(self.encoder, shown(self.paths), (len(self.paths), self.encoder.width), "float32")

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Vectors of some pictures."""
        return self.encoder.encode_pictures(self.paths[start:stop])
