"""A split of random numbers with the shapes of a real one, read through the code that reads real ones."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from itm_harness.benchmarks.bench.shapes import (
    CLIP_WIDTH,
    ENTITIES,
    SENTENCE_WIDTH,
    SHAPES,
    VOCABULARY,
    WORD_PIECES,
    Shape,
    draw_lengths,
)
from itm_harness.datasets.batch import Inputs, WordPieces, Words
from itm_harness.datasets.sidecars import Sidecar
from itm_harness.datasets.spec import SidecarSpec, find_spec
from itm_harness.datasets.split import Split
from itm_harness.datasets.text.captions import Layout
from itm_harness.datasets.text.tokens import UNTOUCHED, Tokens

FIRST_WORD = 1000  # ids below are special ones


@dataclass(frozen=True)
class SyntheticSizes:
    """The sizes that a real data set would decide."""

    shape: Shape

    @property
    def region_dim(self) -> int:
        """Width of a region feature."""
        return self.shape.region_dim

    def vocabulary(self, words: Words) -> range:
        """As many words as Flickr30K's captions have."""
        return range(VOCABULARY)

    def size_of(self, sidecar: str) -> int:
        """Last axis of a sidecar."""
        return _row_shape(sidecar, self.shape)[-1]


class SyntheticSidecar(Sidecar):
    """A sidecar that is in no file."""

    def __init__(self, spec: SidecarSpec, array: np.ndarray, layout: Layout) -> None:
        self.spec, self.array = spec, array
        if spec.rows == "image":
            self.rows, self.pair_rows = np.arange(layout.n_images), layout.image_of_text
        else:
            self.rows = layout.first_text if spec.side == "image" else np.arange(layout.n_texts)
            self.pair_rows = np.arange(layout.n_texts)


def synthetic_split(dataset: str, inputs: Inputs, n_images: int, seed: int = 0) -> Split:
    """What `inputs` asks for of n_images images and their captions. dataset: f30k or coco."""
    rng, shape, spec = np.random.default_rng(seed), SHAPES[dataset], find_spec(dataset)
    image_of_text = np.arange(n_images).repeat(shape.captions_each)
    n_texts = len(image_of_text)
    layout = Layout(
        captions=["synthetic"] * n_texts,
        image_of_text=image_of_text,
        first_text=np.arange(n_images) * shape.captions_each,
        image_ids=[str(image) for image in range(n_images)],
    )
    features = None
    if inputs.regions:
        features = rng.standard_normal((n_images, shape.regions, shape.region_dim), np.float32)
    sidecars = {}
    for name in (*inputs.image_sidecars, *inputs.text_sidecars):
        declared = spec.sidecar(name)
        rows = n_images if declared.rows == "image" else n_texts
        sidecars[name] = SyntheticSidecar(declared, _values(name, rows, shape, rng), layout)
    tokenizer, tokens = None, None
    if inputs.text is not None:
        size = WORD_PIECES if isinstance(inputs.text, WordPieces) else VOCABULARY
        tokenizer, tokens = SimpleNamespace(size=size, mask_id=103), _tokens(n_texts, size, rng)
    return Split(
        SimpleNamespace(spec=spec), "train", layout, n_images, np.arange(n_texts), features, tokenizer, tokens, sidecars
    )


def _tokens(n_texts: int, size: int, rng: np.random.Generator) -> Tokens:
    """Random words, each a token, between two special ones."""
    lengths = draw_lengths(n_texts, rng)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = rng.integers(FIRST_WORD, size, offsets[-1]).astype(np.int32)
    groups = (np.arange(offsets[-1]) - offsets[:-1].repeat(lengths)).astype(np.int32)
    groups[offsets[:-1]] = groups[offsets[1:] - 1] = UNTOUCHED
    return Tokens(ids, offsets, groups)


def _row_shape(sidecar: str, shape: Shape) -> tuple[int, ...]:
    fixed = {
        "boxes": (shape.regions, 4),
        "factual_entities": (ENTITIES, SENTENCE_WIDTH),
        "factual_relations": (ENTITIES, ENTITIES),
    }
    return fixed.get(sidecar, (CLIP_WIDTH if sidecar.startswith("clip") else SENTENCE_WIDTH,))


def _values(sidecar: str, rows: int, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    size = (rows, *_row_shape(sidecar, shape))
    if sidecar == "boxes":  # two corners, sorted: x1, y1, x2, y2 in 0..1
        return np.sort(rng.random((rows, shape.regions, 2, 2), np.float32), axis=2).reshape(size)
    if sidecar == "factual_relations":
        return (rng.random(size) < 0.05).astype(np.int64)
    values = rng.standard_normal(size, np.float32)
    if sidecar == "factual_entities":  # captions name two to six of sixteen
        values[np.arange(ENTITIES) >= rng.integers(2, 7, rows)[:, None]] = 0
    return values
