"""Files that can be made from the texts and pictures of a data set: what they are made of, and where they go.

Those of texts lie in `prepared/` below the precomp folder, never under the name of a released file; CLIP vectors, which
nobody released, lie beside the features. Data sets declare them like any other file of a sidecar (_scan.yaml,
f8k.yaml); a released file is read before them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

import numpy as np

from datasets.captions import Layout, read_lines
from datasets.clip_model import CLIPEncoder, model_label
from datasets.errors import DataError
from datasets.graphs import SLOTS, Graph, read_graphs, relation_matrices
from datasets.manifest import Manifest
from datasets.pictures import find_pictures
from datasets.precomp import Dataset
from datasets.sentences import SentenceEncoder
from datasets.sidecars import find_sidecar

FOLDER = "prepared"
CLIP = "clip"  # --what, and what the names of its products begin with
CHUNK = 1024  # captions at a time

# --what -> files -> the texts that they are made of, None = the captions themselves
SOURCES: dict[str, dict[str, str | None]] = {
    "sentences": {
        "captions": None,
        "descriptions": "{split}_descriptions.txt",
        "descriptions_dagger": "{split}_descriptions_dagger.txt",
    },
    "graphs": {"entities": "{split}_graphs.json", "relations": "{split}_graphs.json"},
}
OPTIONAL = {"descriptions_dagger"}  # made where its texts are there
TEXTS = {
    "descriptions": "descriptions of the images, one a line, a line per image or per caption",
    "graphs": "scene graphs of the captions, a JSON list with entities and relations per caption",
}


class Content(Protocol):
    """What a file will hold. shape, dtype: of its array. manifest: how it was made."""

    manifest: Manifest

    def batches(self) -> Iterator[np.ndarray]:
        """Its rows, in order."""
        ...


def products(what: str, clip_model: str) -> list[str]:
    """The files of a --what."""
    if what == CLIP:
        return [f"{CLIP}_{model_label(clip_model)}_{side}" for side in ("ims", "caps")]
    return list(SOURCES[what])


def is_clip(product: str) -> bool:
    """Are these CLIP vectors, of pictures or captions?"""
    return product.startswith(f"{CLIP}_")


def shows_pictures(product: str) -> bool:
    """Are these CLIP vectors of pictures?"""
    return is_clip(product) and product.endswith("_ims")


def pattern(product: str) -> str:
    """The file of a product as data sets declare it."""
    return f"{{split}}_{product}.npy" if is_clip(product) else f"{FOLDER}/{{split}}_{product}.npy"


def prepared_path(dataset: Dataset, product: str, split: str) -> Path:
    """The file of a product of a split."""
    return dataset.folder / pattern(product).replace("{split}", dataset.spec.file_split(split))


def source_path(dataset: Dataset, product: str, split: str) -> Path | None:
    """The text file that a product is made of; None for the captions themselves, and for pictures."""
    names = {name: source for made in SOURCES.values() for name, source in made.items()}
    source = names.get(product)
    return dataset.folder / source.replace("{split}", dataset.spec.file_split(split)) if source else None


def missing_source(path: Path) -> str:
    """The sentence for a text file that is not there."""
    what = next(text for name, text in TEXTS.items() if f"_{name}" in path.name)
    return f"{path} is missing: {what}; write it, or leave it out with --what."


def read_before(dataset: Dataset, product: str, split: str) -> Path | None:
    """A file of the data that every reader of the product takes instead, None where the product itself is read.

    Raises DataError where the data set declares no sidecar that reads it.
    """
    name = pattern(product)
    readers = [
        sidecar
        for sidecar, spec in dataset.spec.sidecars.items()
        if any(fnmatchcase(name, pattern) for pattern in spec.patterns(split, "{split}"))
    ]
    if not readers:
        raise DataError(
            f"data set {dataset.spec.name} declares no sidecar that reads {name}; write `extends: scan` in its YAML, "
            f"or add that name to the files of a sidecar."
        )
    own = prepared_path(dataset, product, split)
    found = [find_sidecar(dataset.spec, sidecar, dataset.folder, split) for sidecar in readers]
    return found[0] if all(path not in (None, own) for path in found) else None


def read_descriptions(path: Path, layout: Layout) -> list[str]:
    """One line per image or per caption. Raises DataError where the count does not fit."""
    lines = read_lines(path)
    if layout.image_rows(len(lines)) is None:
        raise DataError(
            f"{path} holds {len(lines):,} lines, but the split has {layout.n_images:,} images and {layout.n_texts:,} "
            f"captions; write one description a line, for every image or every caption."
        )
    return lines


def clip_content(dataset: Dataset, product: str, split: str, encoder: CLIPEncoder, images: Path | None) -> Content:
    """What a file of CLIP vectors will hold. images: the folder of the pictures, None = the data set's own."""
    if shows_pictures(product):
        return Pictures(find_pictures(dataset, split, images), encoder)
    return Sentences(dataset.layout(split).captions, encoder)


def content(
    dataset: Dataset, product: str, split: str, encoder: SentenceEncoder, numbers: Mapping[str, int]
) -> Content:
    """What a file made of texts will hold. encoder: fitted. numbers: relation -> its number."""
    layout, source = dataset.layout(split), source_path(dataset, product, split)
    if source is None:
        return Sentences(layout.captions, encoder)
    if product == "entities":
        return Entities(read_graphs(source, layout.captions), encoder.for_entities())
    if product == "relations":
        return Relations(read_graphs(source, layout.captions), numbers)
    return Sentences(read_descriptions(source, layout), encoder)


@dataclass(frozen=True)
class Sentences:
    """(texts, width) float32: a vector per text."""

    texts: Sequence[str]
    encoder: SentenceEncoder

    @property
    def manifest(self) -> Manifest:
        return _manifest(self.encoder, self.texts, (len(self.texts), self.encoder.width), "float32")

    def batches(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.texts), CHUNK):
            yield self.encoder.encode(self.texts[start : start + CHUNK])


@dataclass(frozen=True)
class Pictures:
    """(pictures, width) float32: a vector per picture. Names and sizes of the files stand for what they show."""

    paths: Sequence[Path]
    encoder: CLIPEncoder

    @property
    def manifest(self) -> Manifest:
        shown = [(path.name, path.stat().st_size) for path in self.paths]
        return _manifest(self.encoder, shown, (len(self.paths), self.encoder.width), "float32")

    def batches(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.paths), CHUNK):
            yield self.encoder.encode_pictures(self.paths[start : start + CHUNK])


@dataclass(frozen=True)
class Entities:
    """(captions, SLOTS, width) float16, which halves the largest of all files: a vector per entity, zeros behind."""

    graphs: Sequence[Graph]
    encoder: SentenceEncoder

    @property
    def manifest(self) -> Manifest:
        shape = (len(self.graphs), SLOTS, self.encoder.width)
        return _manifest(self.encoder, [graph.entities for graph in self.graphs], shape, "float16")

    def batches(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.graphs), CHUNK):
            yield self._vectors(self.graphs[start : start + CHUNK])

    def _vectors(self, graphs: Sequence[Graph]) -> np.ndarray:
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

    @property
    def manifest(self) -> Manifest:
        return Manifest(
            encoder="relation numbers",
            fitted=True,
            texts=_fingerprint([graph.relations for graph in self.graphs]),
            state=_fingerprint(list(self.numbers)),
            shape=(len(self.graphs), SLOTS, SLOTS),
            dtype="int32",
        )

    def batches(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.graphs), CHUNK):
            yield relation_matrices(self.graphs[start : start + CHUNK], self.numbers)


def _manifest(encoder: SentenceEncoder, texts: Sequence[object], shape: tuple[int, ...], dtype: str) -> Manifest:
    return Manifest(
        encoder=encoder.name,
        pooling=encoder.pooling,
        weights=encoder.weights,
        fitted=encoder.fitted,
        texts=_fingerprint(texts),
        state=encoder.state,
        shape=shape,
        dtype=dtype,
        libraries=encoder.libraries,
    )


def _fingerprint(texts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]
