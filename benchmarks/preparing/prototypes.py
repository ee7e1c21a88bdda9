"""prepare --what prototypes: centroids of the training descriptions, which VSD may start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itm_harness.benchmarks.preparing.content import PREPARED, Source, Target
from itm_harness.benchmarks.preparing.product import Product
from itm_harness.datasets.batch import Inputs
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import Manifest, read_manifest
from itm_harness.datasets.sidecars import find_sidecar
from itm_harness.datasets.split import Split, open_split
from itm_harness.methods.losses.kmeans import SEED, kmeans

VECTORS = ("descriptions_star", "descriptions_dagger")  # the sidecars that VSD's prototypes are of
WHAT = "vectors of the training descriptions: make them with --what sentences,prototypes"


class PrototypeVectors(Product):
    """prepared/NAME_prototypes_K.npy of every set of description vectors that is there."""

    name = "prototypes"

    def targets(self) -> list[Target]:
        """One per set of vectors, of the training split; at least one is demanded."""
        dataset = self.job.dataset
        declared = [name for name in VECTORS if name in dataset.spec.sidecars]
        if not declared:
            raise DataError(
                f"data set {dataset.spec.name} declares no vectors of descriptions; write `extends: scan` in its YAML."
            )
        return [self._of(name, optional=len(declared) > 1 and self._others(name)) for name in declared]

    def _others(self, name: str) -> bool:
        """May this one be missing, because another is there or is the one that is demanded?"""
        return name != VECTORS[0] or any(self._vectors(other).exists() for other in VECTORS if other != name)

    def _of(self, name: str, optional: bool) -> Target:
        dataset, count = self.job.dataset, self.job.options.prototypes
        path = dataset.folder / PREPARED / f"{name}_prototypes_{count}.npy"
        return Target(path, "train", self._content(name, count), [Source(self._vectors(name), WHAT)], optional=optional)

    def _vectors(self, name: str) -> Path:
        """The file that is read, or that --what sentences makes."""
        dataset = self.job.dataset
        made = dataset.spec.sidecars[name].patterns("train", dataset.spec.file_split("train"))[-1]
        return find_sidecar(dataset.spec, name, dataset.folder, "train") or dataset.folder / made

    def _content(self, name: str, count: int) -> Callable[[], Prototypes]:
        def content() -> Prototypes:
            inputs = Inputs(regions=False, text=None, image_sidecars=(name,))
            manifest = read_manifest(self._vectors(name))
            return Prototypes(
                name, open_split(self.job.dataset, "train", inputs), count, manifest.label if manifest else ""
            )

        return content


@dataclass(frozen=True)
class Prototypes:
    """(count, width) float32: what VSD finds itself where no file is given. source: what made the vectors."""

    name: str
    train: Split
    count: int
    source: str

    @property
    def step(self) -> int:
        """All at once."""
        return self.count

    @property
    def manifest(self) -> Manifest:
        """Shape and origin."""
        return Manifest(
            encoder="k-means",
            fitted=True,
            texts=self.train.contents[self.name],
            state=f"{self.count} from seed {SEED}",
            source=self.source,
            shape=(self.count, self.train.sidecar(self.name).shape[-1]),
            dtype="float32",
        )

    def rows(self, start: int, stop: int) -> np.ndarray:
        """The centroids. Raises MethodError where there are fewer different descriptions."""
        return kmeans(self.train.sidecar(self.name), self.count).numpy()[start:stop]
