"""prepare --what graphs: VSSR's entity vectors and relation matrices, from scene graphs of the captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.preparing.content import PREPARED, Product, Source, Target, fingerprint
from benchmarks.preparing.sentences import encoded_manifest
from benchmarks.preparing.texts import origin
from datasets.errors import DataError
from datasets.graphs import SLOTS, Graph, read_graphs, relation_matrices, relation_numbers
from datasets.manifest import Manifest
from datasets.sentences import SentenceEncoder

STEP = 1024  # captions
ENTITIES, RELATIONS = f"{PREPARED}/{{split}}_entities.npy", f"{PREPARED}/{{split}}_relations.npy"
TEXTS = "scene graphs of the captions, a JSON list with entities and relations per caption"


class SceneGraphs(Product):
    """Entities and relations of each split's captions, in prepared/."""

    name = "graphs"

    def targets(self) -> list[Target]:
        """Entity vectors and relation numbers of each split."""
        return [target for split in self.job.splits for target in self._of_split(split)]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Relation -> its number, from the training split."""
        path = self._path("train")
        if not path.exists():
            raise DataError(f"{path} is missing: {TEXTS}; write it, or leave it out with --what.")
        return relation_numbers(read_graphs(path, self.job.dataset.layout("train").captions))

    def _of_split(self, split: str) -> list[Target]:
        path, layout = self._path(split), self.job.dataset.layout
        sources = [Source(path, TEXTS)]

        def entities() -> Entities:
            graphs = read_graphs(path, layout(split).captions)
            return Entities(graphs, self.job.encoder.fitted.for_entities(), origin(path))

        def relations() -> Relations:
            return Relations(read_graphs(path, layout(split).captions), self.numbers, origin(path))

        return [
            self.target(split, ENTITIES, entities, sources=sources, check=self.job.encoder.require),
            self.target(split, RELATIONS, relations, sources=sources),
        ]

    def _path(self, split: str) -> Path:
        return self.job.dataset.folder / f"{self.job.dataset.spec.file_split(split)}_graphs.json"


@dataclass(frozen=True)
class Entities:
    """(captions, SLOTS, width) float16, which halves the largest of all files: a vector per entity, zeros behind."""

    graphs: Sequence[Graph]
    encoder: SentenceEncoder
    source: str = ""
    step: int = STEP

    @property
    def manifest(self) -> Manifest:
        """Shape and origin."""
        shape = (len(self.graphs), SLOTS, self.encoder.width)
        return encoded_manifest(self.encoder, [graph.entities for graph in self.graphs], shape, "float16", self.source)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Vectors of the entities of some captions."""
        graphs = self.graphs[start:stop]
        numbers: dict[str, int] = {}  # each distinct text is encoded once
        codes = np.full((len(graphs), SLOTS), -1)
        for i, graph in enumerate(graphs):
            codes[i, : len(graph.entities)] = [numbers.setdefault(text, len(numbers)) for text in graph.entities]
        vectors = np.zeros((len(numbers) + 1, self.encoder.width), np.float16)  # the last one, -1, stays zero
        vectors[:-1] = self.encoder.encode(list(numbers))
        return vectors[codes]


@dataclass(frozen=True)
class Relations:
    """(captions, SLOTS, SLOTS) int32: numbers of relations."""

    graphs: Sequence[Graph]
    numbers: Mapping[str, int]
    source: str = ""
    step: int = STEP

    @property
    def manifest(self) -> Manifest:
        """Shape and origin."""
        return Manifest(
            encoder="relation numbers",
            fitted=True,
            texts=fingerprint([graph.relations for graph in self.graphs]),
            state=fingerprint(list(self.numbers)),
            shape=(len(self.graphs), SLOTS, SLOTS),
            dtype="int32",
            source=self.source,
        )

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Numbers of the relations of some captions."""
        return relation_matrices(self.graphs[start:stop], self.numbers)
