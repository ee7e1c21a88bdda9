"""prepare --what graphs: VSSR's entity vectors and relation matrices, from scene graphs of the captions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from itm_harness.benchmarks.preparing.content import PREPARED, Target, encoded_manifest, fingerprint
from itm_harness.benchmarks.preparing.graph_parsers import GraphParser, open_graph_parser
from itm_harness.benchmarks.preparing.job import is_made_here
from itm_harness.benchmarks.preparing.product import Product
from itm_harness.benchmarks.preparing.texts import GRAPHS, origin
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import Manifest
from itm_harness.datasets.text.graphs import SLOTS, Graph, read_graphs, relation_matrices, relation_numbers
from itm_harness.datasets.text.sentences import SentenceEncoder

STEP = 1024  # captions
ENTITIES, RELATIONS = f"{PREPARED}/{{split}}_entities.npy", f"{PREPARED}/{{split}}_relations.npy"
TEXTS = "scene graphs of the captions, a JSON list with entities and relations per caption"


class SceneGraphs(Product):
    """{split}_graphs.json, where it did not come with the data; of it entities and relations in prepared/."""

    name = "graphs"

    def targets(self) -> list[Target]:
        """The graphs of all splits, then the entity vectors and relation numbers of each."""
        parsed = [self._parsed(split) for split in self._splits_to_parse()]
        return [*parsed, *(target for split in self.job.splits for target in self._of_split(split))]

    @cached_property
    def parser(self) -> GraphParser:
        """The parser that the options name."""
        return open_graph_parser(self.job.options, self.job.models)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Relation -> its number, from the training split."""
        path = self._path("train")
        return relation_numbers(read_graphs(path, self.job.dataset.layout("train").captions))

    def _splits_to_parse(self) -> list[str]:
        """Those without graphs of somebody else, or all where a parser is named; train numbers the relations of all."""
        splits = dict.fromkeys(["train", *self.job.splits])
        if self.job.options.graph_parser:
            return list(splits)
        return [split for split in splits if not self._path(split).exists() or is_made_here(self._path(split))]

    def _parsed(self, split: str) -> Target:
        path, layout = self._path(split), self.job.dataset.layout

        def require() -> None:
            try:
                self.parser.require()
            except DataError as error:
                raise DataError(f"{path} is missing: {TEXTS}; {error}") from error

        return Target(path, split, lambda: ParsedGraphs(layout(split).captions, self.parser), check=require)

    def _of_split(self, split: str) -> list[Target]:
        path, layout = self._path(split), self.job.dataset.layout

        def entities() -> Entities:
            graphs = read_graphs(path, layout(split).captions)
            return Entities(graphs, self.job.encoder.fitted.for_entities(), origin(path))

        def relations() -> Relations:
            return Relations(read_graphs(path, layout(split).captions), self.numbers, origin(path))

        return [
            self.target(split, ENTITIES, entities, check=self.job.encoder.require),
            self.target(split, RELATIONS, relations),
        ]

    def _path(self, split: str) -> Path:
        return self.job.dataset.folder / GRAPHS.replace("{split}", self.job.dataset.spec.file_split(split))


@dataclass(frozen=True)
class ParsedGraphs:
    """(captions,) a scene graph per caption, as read_graphs reads it."""

    captions: Sequence[str]
    parser: GraphParser

    @property
    def step(self) -> int:
        """Captions that the parser takes at a time."""
        return self.parser.step

    @property
    def manifest(self) -> Manifest:
        """What parsed the captions."""
        return encoded_manifest(self.parser, self.captions, (len(self.captions),), "text")

    def rows(self, start: int, stop: int) -> list[str]:
        """The graphs of some captions, one JSON object each."""
        captions = self.captions[start:stop]
        graphs = self.parser.graphs(captions)
        return [
            json.dumps({"caption": caption, **graph}, ensure_ascii=False)
            for caption, graph in zip(captions, graphs, strict=True)
        ]


@dataclass(frozen=True)
class Entities:
    """(captions, SLOTS, width) float16, which halves the largest of all files: a vector per entity, zeros behind."""

    graphs: Sequence[Graph]
    encoder: SentenceEncoder
    source: str = ""
    step: ClassVar[int] = STEP

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
    step: ClassVar[int] = STEP

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
