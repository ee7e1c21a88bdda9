"""The demo data set on disk: SCAN's layout, pictures, and every sidecar that a method may ask for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itm_harness.datasets.demo.captions import CAPTIONS_PER_IMAGE, five_captions
from itm_harness.datasets.demo.descriptions import dagger, star
from itm_harness.datasets.demo.draw import draw
from itm_harness.datasets.demo.meaning import Text
from itm_harness.datasets.demo.regions import region_features
from itm_harness.datasets.demo.scenes import CANVAS, Kind, Scene, sample_scenes
from itm_harness.datasets.demo.vectors import (
    SENTENCE_WIDTH,
    clip_image_vector,
    clip_text_vector,
    entity_vector,
    sentence_vector,
)

SIZES = {"train": 1000, "dev": 200, "test": 500}
SEED = 7
ENTITY_SLOTS = 16
GRID = 2.0**-14  # arrays are rounded to this: machines whose sums differ in the last bits then write the same bytes
RELATION_NUMBERS = {kind: number for number, kind in enumerate(Kind, start=1)}


@dataclass(frozen=True)
class Split:
    """A generated split. names: picture files. captions: CAPTIONS_PER_IMAGE per scene, in a row."""

    name: str
    first_id: int
    scenes: Sequence[Scene]
    captions: Sequence[Text]

    @property
    def names(self) -> list[str]:
        """Picture files, one per scene."""
        return [f"demo_{self.first_id + i:05d}.png" for i in range(len(self.scenes))]


def write_demo(root: Path, sizes: Mapping[str, int] = SIZES) -> None:
    """Write `root`/demo. sizes: images per split. The same sizes give the same bytes. Raises OSError."""
    base = root / "demo"
    for folder in ("images", "precomp/factual"):
        (base / folder).mkdir(parents=True)
    mapping: dict[str, str] = {}
    for index, (name, count) in enumerate(sizes.items()):
        streams = [np.random.default_rng([SEED, index, part]) for part in range(4)]
        scenes = sample_scenes(count, streams[0])
        captions = [caption for scene in scenes for caption in five_captions(scene, streams[1])]
        split = Split(name, len(mapping), scenes, captions)
        mapping.update({str(split.first_id + i): file for i, file in enumerate(split.names)})
        _write_pictures(base / "images", split)
        _write_texts(base / "precomp", split)
        _write_regions(base / "precomp", split, streams[2])
        _write_descriptions(base / "precomp", split, streams[3])
        _write_caption_vectors(base / "precomp", split)
        _write_clip_vectors(base / "precomp", split)
    _write_json(base / "id_mapping.json", mapping)


def _write_pictures(folder: Path, split: Split) -> None:
    for name, scene in zip(split.names, split.scenes, strict=True):
        draw(scene).save(folder / name)


def _write_texts(folder: Path, split: Split) -> None:
    ids = (split.first_id + i // CAPTIONS_PER_IMAGE for i in range(len(split.captions)))
    _write_lines(folder / f"{split.name}_caps.txt", split.captions)
    _write_lines(folder / f"{split.name}_ids.txt", ids)
    _write_json(folder / f"{split.name}_caps.json", [caption.pairs for caption in split.captions])
    _write_json(folder / f"{split.name}_graphs.json", [caption.graph() for caption in split.captions])


def _write_regions(folder: Path, split: Split, rng: np.random.Generator) -> None:
    features, frames = region_features(split.scenes, rng)
    _write_array(folder / f"{split.name}_ims.npy", features)
    _write_array(folder / f"{split.name}_ims_bbx.npy", frames)
    sizes = np.full(len(split.scenes), CANVAS, dtype=[("image_w", "<i4"), ("image_h", "<i4")])
    np.save(folder / f"{split.name}_ims_size.npy", sizes, allow_pickle=False)


def _write_descriptions(folder: Path, split: Split, rng: np.random.Generator) -> None:
    """Texts, and their vectors once per caption, under the names that VSD and VSSR released."""
    terse = [star(scene, rng) for scene in split.scenes]
    rich = [dagger(scene, rng) for scene in split.scenes]
    _write_lines(folder / f"{split.name}_descriptions.txt", terse)
    _write_lines(folder / f"{split.name}_descriptions_dagger.txt", rich)
    star_vectors = np.repeat(_sentence_vectors(terse), CAPTIONS_PER_IMAGE, axis=0)
    _write_array(folder / f"{split.name}_aux_cap_bge_flor_det.npy", star_vectors)
    _write_array(folder / "factual" / f"{split.name}_caps_synthesis_florence_bge_det.npy", star_vectors)
    suffix = "" if split.name == "train" else "_1"  # as released
    dagger_vectors = np.repeat(_sentence_vectors(rich), CAPTIONS_PER_IMAGE, axis=0)
    _write_array(folder / f"{split.name}_aux_cap_bge_cpm_full{suffix}.npy", dagger_vectors)


def _write_caption_vectors(folder: Path, split: Split) -> None:
    """Sentence vectors under the three names that the methods read, entity vectors and relation numbers."""
    vectors = _sentence_vectors(split.captions)
    for name in ("{}_cap_bge.npy", "{}_cap_bge_cpm.npy", "factual/{}_caps_bge_det.npy"):
        _write_array(folder / name.format(split.name), vectors)
    entities = np.zeros((len(split.captions), ENTITY_SLOTS, SENTENCE_WIDTH), dtype=np.float32)
    relations = np.zeros((len(split.captions), ENTITY_SLOTS, ENTITY_SLOTS), dtype=np.int32)
    for i, caption in enumerate(split.captions):
        for j, entity in enumerate(caption.meaning.entities):
            entities[i, j] = entity_vector(entity)
        for link in caption.meaning.links:
            relations[i, link.subject, link.object] = RELATION_NUMBERS[link.kind]
    _write_array(folder / "factual" / f"{split.name}_caps_entities_bge.npy", entities)
    np.save(folder / "factual" / f"{split.name}_caps_relation_matrices_cls_bge.npy", relations, allow_pickle=False)


def _write_clip_vectors(folder: Path, split: Split) -> None:
    images = [clip_image_vector(name, scene) for name, scene in zip(split.names, split.scenes, strict=True)]
    texts = [clip_text_vector(str(caption), caption.meaning) for caption in split.captions]
    _write_array(folder / f"{split.name}_clip_simulated_ims.npy", np.stack(images))
    _write_array(folder / f"{split.name}_clip_simulated_caps.npy", np.stack(texts))


def _sentence_vectors(texts: Sequence[Text]) -> np.ndarray:
    return np.stack([sentence_vector(str(text), text.meaning) for text in texts])


def _write_array(path: Path, values: np.ndarray) -> None:
    np.save(path, (np.round(values / GRID) * GRID).astype(np.float32), allow_pickle=False)


def _write_lines(path: Path, items: Iterable[object]) -> None:
    path.write_text("".join(f"{item}\n" for item in items), encoding="utf-8", newline="\n")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8", newline="\n")
