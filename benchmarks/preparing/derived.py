"""prepare --output: a data root of its own, with a data set's files as links, or cut to its first images.

What is made there changes nothing of the data set itself: its released or simulated vectors stay what runs read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.atomic import unwritable, write_whole
from benchmarks.errors import RunError
from benchmarks.preparing.content import PREPARED, Target
from benchmarks.preparing.job import readers
from benchmarks.preparing.texts import DESCRIPTIONS, GRAPHS
from datasets.arrays import open_array
from datasets.captions import Layout, read_lines
from datasets.errors import DataError
from datasets.manifest import manifest_path
from datasets.pictures import MAPPING
from datasets.precomp import Dataset
from datasets.sidecars import find_sidecar

NOTE = "derived.json"  # in the data set's folder: of which captions it is
OTHERS = ("{split}_caption_ids.txt", *DESCRIPTIONS.values(), GRAPHS)  # files of a split that are no sidecars


def derive(dataset: Dataset, output: Path, limit: int | None, targets: Sequence[Target]) -> Dataset:
    """The data set below `output`, without the files of `targets`, and without what is read in their place.

    limit: only the first so many images of each split. Simulated sidecars are left out, and what was prepared before.
    Raises RunError where the place holds something else or cannot be written.
    """
    folder = output / dataset.spec.name / "precomp"
    if dataset.spec.folder:
        raise RunError(
            f"--output is for data sets without `folder` in their YAML; that of {dataset.spec.name} has one."
        )
    if folder.resolve() == dataset.folder.resolve():
        raise RunError(f"--output {output} is where {dataset.spec.name} is; leave it out, or name another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _require_same(folder.parent / NOTE, dataset, limit)
        for split in dataset.spec.splits:
            if dataset.captions_path(split).exists():
                _take_split(dataset, split, folder, limit, targets)
        _take_pictures(dataset, folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    return Dataset(dataset.spec, folder, output)


def _require_same(note: Path, dataset: Dataset, limit: int | None) -> None:
    """Raises RunError where the folder was begun with other captions or another limit."""
    digest = hashlib.sha256()
    for split in dataset.spec.splits:
        path = dataset.captions_path(split)
        digest.update(path.read_bytes() if path.exists() else b"")
    wanted = json.dumps({"captions": digest.hexdigest()[:16], "limit": limit})
    if not note.exists():
        write_whole(note, lambda file: file.write(wanted.encode()))
    elif note.read_text(encoding="utf-8") != wanted:
        raise RunError(
            f"{note.parent} holds other images of {dataset.spec.name} (another --limit, or other captions); "
            f"remove it, or name another folder with --output."
        )


def _take_split(dataset: Dataset, split: str, folder: Path, limit: int | None, targets: Sequence[Target]) -> None:
    layout = dataset.layout(split)
    for path in _files(dataset, split, targets):
        place = folder / path.relative_to(dataset.folder)
        if limit is None or limit >= layout.n_images:
            _link(path, place)
            if manifest_path(path).exists():
                _link(manifest_path(path), manifest_path(place))
        elif not place.exists():
            _cut(path, place, layout, limit)


def _files(dataset: Dataset, split: str, targets: Sequence[Target]) -> Iterator[Path]:
    """The files of a split that go along."""
    spec, made = dataset.spec, {target.path for target in targets}
    replaced = {name for t in targets if t.sidecar and t.split == split for name in readers(spec, split, t.sidecar)}
    kept = [name for name in spec.sidecars if name not in replaced and name not in spec.simulated]
    others = [dataset.folder / name.replace("{split}", spec.file_split(split)) for name in OTHERS]
    own = [getattr(dataset, f"{name}_path")(split) for name in ("features", "captions", "ids", "precomputed")]
    found = [find_sidecar(spec, name, dataset.folder, split) for name in kept]
    for path in dict.fromkeys([*own, *others, *(path for path in found if path)]):
        if path.exists() and path not in made and path.parent != dataset.folder / PREPARED:
            yield path


def _take_pictures(dataset: Dataset, folder: Path) -> None:
    """The names of the pictures, their folder and SCAN's vocabulary, where they are there."""
    beside = next((place for place in (dataset.folder, dataset.folder.parent) if (place / MAPPING).exists()), None)
    if beside:
        _link(beside / MAPPING, folder.parent / MAPPING)
    if beside and (beside / "images").is_dir():
        _link(beside / "images", folder.parent / "images")
    if vocabulary := dataset.vocabulary_path():
        _link(vocabulary, folder / vocabulary.name)


def _link(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.is_symlink():
        place.symlink_to(path.resolve())


def _cut(path: Path, place: Path, layout: Layout, limit: int) -> None:
    """Write what a file holds of the first images: a row, line or item per image or per caption."""
    texts = np.flatnonzero(layout.image_of_text < limit)
    if path.suffix == ".npy":
        array = open_array(path)
        kept = array[_rows(len(array), layout, limit, texts, path)]
        write_whole(place, partial(np.save, arr=kept, allow_pickle=False))
        return
    items = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else read_lines(path)
    chosen = [items[i] for i in _rows(len(items), layout, limit, texts, path)]
    text = json.dumps(chosen, ensure_ascii=False) if path.suffix == ".json" else "".join(f"{i}\n" for i in chosen)
    write_whole(place, lambda file: file.write(text.encode()))


def _rows(count: int, layout: Layout, limit: int, texts: np.ndarray, path: Path) -> np.ndarray:
    if count not in (layout.n_images, layout.n_texts):
        raise DataError(f"{path} holds {count:,} rows, neither one per image nor one per caption; make it anew.")
    return np.arange(limit) if count == layout.n_images else texts
