"""prepare --output: a data root of its own, with a data set's files as links, or cut to its first images.

What is made there changes nothing of the data set itself: its released or simulated vectors stay what runs read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from itm_harness.benchmarks.common.atomic import unwritable, write_whole
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.content import PREPARED, Target
from itm_harness.benchmarks.preparing.job import readers
from itm_harness.benchmarks.preparing.options import PrepareOptions
from itm_harness.benchmarks.preparing.texts import DESCRIPTIONS, GRAPHS
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.arrays import open_array
from itm_harness.datasets.files.manifest import content_print, manifest_path, read_manifest
from itm_harness.datasets.pictures.folder import MAPPING, mapping_path, pictures_folder
from itm_harness.datasets.precomp import Dataset
from itm_harness.datasets.sidecars import find_sidecar
from itm_harness.datasets.spec import DatasetSpec, find_spec
from itm_harness.datasets.text.captions import Layout, read_lines

NOTE = "derived.json"  # in the data set's folder: of which captions it is
CUT = "cut"  # beside precomp/: files that were cut; precomp/ links to them, so that only what is made there is a file
OTHERS = ("{split}_caption_ids.txt", *DESCRIPTIONS.values(), GRAPHS)  # files of a split that are no sidecars


def derive(dataset: Dataset, options: PrepareOptions, targets: Sequence[Target]) -> Dataset:
    """The data set below `options.output`, without the files of `targets`, and without what is read in their place.

    With a limit only the first so many images of each split. Simulated sidecars are left out, and what was prepared
    before. One whose YAML names folders gets a YAML of its own there. Raises RunError where the place holds something
    else or cannot be written.
    """
    output, spec = options.output, dataset.spec
    folder = output / spec.name / "precomp"
    if folder.resolve() == dataset.folder.resolve():
        raise RunError(f"--output {output} is where {spec.name} is; leave it out, or name another folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _require_same(folder.parent / NOTE, dataset, options.limit)
        for split in spec.splits:
            if dataset.captions_path(split).exists():
                _take_split(dataset, split, folder, options.limit, targets)
        _take_pictures(dataset, folder, options.images)
        if names_folders(spec):
            spec = _describe(options.dataset, spec.name, derived_yaml(output, spec))
    except OSError as error:
        raise unwritable(folder, error) from error
    return Dataset(spec, folder, output)


def names_folders(spec: DatasetSpec) -> bool:
    """Does the YAML name folders, so that it cannot describe a copy elsewhere?"""
    return bool(spec.folder or spec.images)


def derived_yaml(output: Path, spec: DatasetSpec) -> Path:
    """Where the YAML of a derived data set lies that needs one."""
    return output / f"{spec.name}.yaml"


def _describe(original: str, name: str, place: Path) -> DatasetSpec:
    """Write the YAML of the derived data set: the original's with its own folder; pictures are linked beside it.

    Raises RunError where another file is in the way.
    """
    content = yaml.safe_load(Path(original).read_text(encoding="utf-8"))
    content = {key: value for key, value in content.items() if key != "images"}
    content |= {"folder": f"{name}/precomp"}
    text = "# Written by `itm prepare --output`: a copy of another data set.\n"
    text += yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    if not place.exists():
        write_whole(place, lambda file: file.write(text.encode()))
    elif place.read_text(encoding="utf-8") != text:
        raise RunError(f"{place} describes something else; move it away, or name another folder with --output.")
    return find_spec(str(place))


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
    taken = set(_taken(dataset, split, folder, targets))
    for path in _files(dataset, split):
        place = folder / path.relative_to(dataset.folder)
        if path not in taken:
            _give_back(place)
        elif limit is None or limit >= layout.n_images:
            _link(path, place)
            if manifest_path(path).exists():
                _link(manifest_path(path), manifest_path(place))
        elif not place.is_symlink():
            _cut(path, folder.parent / CUT / path.relative_to(dataset.folder), layout, limit)
            _link_cut(folder.parent / CUT / path.relative_to(dataset.folder), place)


def _files(dataset: Dataset, split: str) -> Iterator[Path]:
    """The files of a split that may go along: not those that prepare made in its own folder."""
    spec = dataset.spec
    others = [dataset.folder / name.replace("{split}", spec.file_split(split)) for name in OTHERS]
    own = [getattr(dataset, f"{name}_path")(split) for name in ("features", "captions", "ids", "precomputed")]
    found = [find_sidecar(spec, name, dataset.folder, split) for name in spec.sidecars]
    for path in dict.fromkeys([*own, *others, *(path for path in found if path)]):
        if path.exists() and path.parent != dataset.folder / PREPARED:
            yield path


def _taken(dataset: Dataset, split: str, folder: Path, targets: Sequence[Target]) -> Iterator[Path]:
    """Those that do go along: not what is made, was made here by an earlier call, or is read in place of either."""
    spec, made = dataset.spec, {target.path for target in targets}
    replaced = {name for t in targets if t.sidecar and t.split == split for name in readers(spec, split, t.sidecar)}
    replaced |= {name for name in spec.sidecars if _is_made(spec, name, folder, split)}
    kept = [name for name in spec.sidecars if name not in replaced and name not in spec.simulated]
    read = {find_sidecar(spec, name, dataset.folder, split) for name in kept}
    unread = {find_sidecar(spec, name, dataset.folder, split) for name in spec.sidecars} - read
    for path in _files(dataset, split):
        here = folder / path.relative_to(dataset.folder)
        if path not in made | unread and (here.is_symlink() or not here.exists()):
            yield path


def _is_made(spec: DatasetSpec, name: str, folder: Path, split: str) -> bool:
    """Was a file of a sidecar made in the derived folder? What was taken along is a link."""
    patterns = spec.sidecar(name).patterns(split, spec.file_split(split))
    return any(not path.is_symlink() for pattern in patterns for path in folder.glob(pattern))


def _take_pictures(dataset: Dataset, folder: Path, images: Path | None) -> None:
    """The names of the pictures, their folder and SCAN's vocabulary, where they are there."""
    with suppress(DataError):  # without names of pictures there are only captions
        _link(mapping_path(dataset), folder.parent / MAPPING)
        pictures = pictures_folder(dataset, images)
        if pictures.is_dir():
            _link(pictures, folder.parent / "images")
    if vocabulary := dataset.vocabulary_path():
        _link(vocabulary, folder / vocabulary.name)


def _link(path: Path, place: Path) -> None:
    """Make `place` a link to `path`, whatever it was a link to before."""
    _link_to(path.resolve(), place)


def _link_cut(path: Path, place: Path) -> None:
    """The same with relative links, so that the folder may be moved; the manifest goes along."""
    for made, link in ((path, place), (manifest_path(path), manifest_path(place))):
        if made.exists():
            _link_to(Path(os.path.relpath(made.resolve(), link.parent.resolve())), link)


def _link_to(target: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() and place.readlink() != target:
        place.unlink()
    if not place.is_symlink():
        place.symlink_to(target)


def _give_back(place: Path) -> None:
    """What an earlier call took along is not in the way of what is made now."""
    for path in (place, manifest_path(place)):
        if path.is_symlink():
            path.unlink()


def _cut(path: Path, place: Path, layout: Layout, limit: int) -> None:
    """Write what a file holds of the first images: a row, line or item per image or per caption; and what made it."""
    texts = np.flatnonzero(layout.image_of_text < limit)
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        array = open_array(path)
        kept = array[_rows(len(array), layout, limit, texts, path)]
        write_whole(place, partial(np.save, arr=kept, allow_pickle=False))
    else:
        items = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else read_lines(path)
        kept = [items[i] for i in _rows(len(items), layout, limit, texts, path)]
        text = json.dumps(kept, ensure_ascii=False) if path.suffix == ".json" else "".join(f"{i}\n" for i in kept)
        write_whole(place, lambda file: file.write(text.encode()))
    if manifest := read_manifest(path):
        shape = (len(kept), *manifest.shape[1:])
        described = manifest.model_copy(update={"shape": shape, "rows": content_print(place, place.suffix)})
        write_whole(manifest_path(place), lambda file: file.write(described.model_dump_json(indent=1).encode()))


def _rows(count: int, layout: Layout, limit: int, texts: np.ndarray, path: Path) -> np.ndarray:
    if count not in (layout.n_images, layout.n_texts):
        raise DataError(f"{path} holds {count:,} rows, neither one per image nor one per caption; make it anew.")
    return np.arange(limit) if count == layout.n_images else texts
