"""prepare --what sentences: vectors of captions and of image descriptions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itm_harness.benchmarks.preparing.content import PREPARED, Source, Target, encoded_manifest, whole_batches
from itm_harness.benchmarks.preparing.product import Product
from itm_harness.benchmarks.preparing.texts import DESCRIPTIONS, descriptions_path, origin, read_descriptions
from itm_harness.datasets.files.manifest import Manifest
from itm_harness.datasets.text.sentences import SentenceEncoder

STEP = 1024  # texts, at least
TEXTS = "descriptions of the images, one a line, a line per image or per caption"


class SentenceVectors(Product):
    """Vectors of the captions and of each set of descriptions, in prepared/."""

    name = "sentences"

    def targets(self) -> list[Target]:
        """Captions and descriptions of each split; a second set of descriptions where there is one."""
        return [target for split in self.job.splits for target in self._of_split(split)]

    def _of_split(self, split: str) -> list[Target]:
        dataset, encoder = self.job.dataset, self.job.encoder

        def captions() -> Sentences:
            return Sentences(dataset.layout(split).captions, encoder.fitted)

        def described(path: Path) -> Callable[[], Sentences]:
            return lambda: Sentences(read_descriptions(path, dataset.layout(split)), encoder.fitted, origin(path))

        targets = [self.target(split, f"{PREPARED}/{{split}}_captions.npy", captions, check=encoder.require)]
        for name in DESCRIPTIONS:
            path = descriptions_path(dataset, name, split)
            sources, optional = [Source(path, TEXTS)], name != "descriptions"
            sidecar = f"{PREPARED}/{{split}}_{name}.npy"
            targets.append(
                self.target(split, sidecar, described(path), sources=sources, optional=optional, check=encoder.require)
            )
        return targets


@dataclass(frozen=True)
class Sentences:
    """(texts, width) float32: a vector per text. source: what wrote the texts, "" where it is not known."""

    texts: Sequence[str]
    encoder: SentenceEncoder
    source: str = ""

    @property
    def step(self) -> int:
        """Texts at a time."""
        return whole_batches(self.encoder, STEP)

    @property
    def manifest(self) -> Manifest:
        """Shape and origin."""
        return encoded_manifest(self.encoder, self.texts, (len(self.texts), self.encoder.width), "float32", self.source)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Vectors of some texts."""
        return self.encoder.encode(self.texts[start:stop])
