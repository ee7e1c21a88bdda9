"""prepare --what layout: captions, image ids and picture names in SCAN's layout, and a YAML for a new data set.

It runs before everything else: what the other products are made of is there only afterwards.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from itm_harness.benchmarks.common.atomic import write_whole
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.job import known_names
from itm_harness.benchmarks.preparing.options import PrepareOptions
from itm_harness.benchmarks.preparing.text_file import TextFile, refuse_foreign, source_name, write_text
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.annotations import SPLITS, Annotated, Annotation, Collection, collect, read_annotations
from itm_harness.datasets.pictures.folder import MAPPING, find_pictures
from itm_harness.datasets.precomp import open_dataset, root_folder
from itm_harness.datasets.spec import DatasetSpec, dataset_names, find_spec

NAME = "layout"
YAML_SUFFIXES = (".yaml", ".yml")
UNSET = (
    "--what layout needs what it is made of: --from dataset_NAME.json (Karpathy's), --from test=captions_NAME.json "
    "(COCO's, a file per split) or --from NAME.csv (columns image, caption, split)."
)

Say = Callable[[str], None]


def write_layout(options: PrepareOptions, say: Say) -> list[Path]:
    """Write the files that are not there yet; returns them.

    `options.dataset` may name a YAML that does not exist: it is written as well. Raises DataError where a source is not
    right, RunError where no source is named or a file of somebody else's is in the way; nothing is written then.
    """
    if not options.sources:
        raise RunError(UNSET)
    found = read_sources(options.sources, _kept(options))
    if not found.splits:
        raise DataError(f"{' '.join(options.sources)} holds no captions; give the file that does.")
    described = _new_description(options, found.splits)
    spec = find_spec(options.dataset) if described is None else described.spec
    folder = _folder(spec, options.data_root)
    texts = _texts(spec, folder, found, options)
    for text in texts:
        refuse_foreign(text.path, options.force)
    for note in found.notes:
        say(note)
    written = [text.path for text in texts if write_text(text, NAME, options.sources, say)]
    if described is not None:  # behind what it describes
        write_whole(described.path, lambda file: file.write(described.text.encode()))
        say(f"{described.path}: describes the new data set, to be named with --dataset {described.path}")
        written.append(described.path)
    _tell_of_pictures(options, spec, say)
    return written


def read_sources(sources: Sequence[str], at_most: int | None = None) -> Collection:
    """The pictures and captions of all sources, each FILE or SPLIT=FILE."""
    return collect(chain.from_iterable(_read(source) for source in sources), at_most)


def _read(source: str) -> Iterator[Annotation]:
    name, _, file = source.partition("=")
    if file and name in SPLITS:
        return read_annotations(Path(file), name)
    return read_annotations(Path(source))


def _kept(options: PrepareOptions) -> int | None:
    """Captions per picture: all, but of a shipped data set as many as its official files have (coco: 5)."""
    if options.max_captions is not None or options.dataset.endswith(YAML_SUFFIXES):
        return options.max_captions
    return find_spec(options.dataset).captions_per_image


@dataclass(frozen=True)
class Description:
    """A data set that is described here for the first time: its YAML, and what it says."""

    path: Path
    text: str
    spec: DatasetSpec


def _new_description(options: PrepareOptions, splits: Mapping[str, list[Annotated]]) -> Description | None:
    """For a YAML that does not exist; else None.

    Raises RunError where it would hide a shipped data set, or where nothing could be measured.
    """
    path = Path(options.dataset)
    if not options.dataset.endswith(YAML_SUFFIXES) or path.exists():
        return None
    if path.stem in dataset_names():
        raise RunError(f"{path} would be called like the data set {path.stem}, which is shipped; choose another name.")
    if "test" not in splits:
        raise RunError(f"{' '.join(options.sources)} has no test pictures, so nothing could be measured; mark some.")
    content = _described(path, options.images, splits)
    sources = ", ".join(map(source_name, options.sources))
    text = f"# Written by `itm prepare --what layout` from {sources}.\n"
    text += yaml.safe_dump({"extends": "scan", **content}, sort_keys=False, allow_unicode=True)
    places = {key: str(path.absolute().parent / content[key]) for key in ("folder", "images") if key in content}
    return Description(path, text, DatasetSpec(**content | places))


def _described(path: Path, images: Path | None, splits: Mapping[str, list[Annotated]]) -> dict[str, Any]:
    """What a YAML at `path` says of these splits; folders are relative to it."""
    counts = {len(picture.captions) for pictures in splits.values() for picture in pictures}
    return {
        "name": path.stem,
        "folder": f"{path.stem}/precomp",
        **({} if images is None else {"images": _relative(images, path.parent)}),
        **({"captions_per_image": counts.pop()} if len(counts) == 1 else {}),
        "splits": {split: split for split in ("train", "dev", "test") if split in splits},
        "benchmarks": [{"name": f"{path.stem}-test", "images": len(splits["test"])}],
    }


def _relative(folder: Path, start: Path) -> str:
    return Path(os.path.relpath(folder.absolute(), start.absolute())).as_posix()


def _folder(spec: DatasetSpec, root: Path | None) -> Path:
    """The precomp folder, which may not exist yet."""
    base = root_folder(root)
    if spec.generated:
        raise RunError(f"data set {spec.name} is made on first use; choose another, or name a YAML of your own.")
    if spec.folder:
        return base / spec.folder
    older = base / f"{spec.name}_precomp"
    return older if older.is_dir() else base / spec.name / "precomp"


def _texts(spec: DatasetSpec, folder: Path, found: Collection, options: PrepareOptions) -> list[TextFile]:
    """Captions and ids of every split, caption ids where they are known, and the picture of every id."""
    unknown = sorted(set(found.splits) - set(spec.splits))
    if unknown:
        raise DataError(
            f"{' '.join(options.sources)} has {unknown[0]} pictures, but data set {spec.name} has no such split "
            f"(it has {', '.join(spec.splits)}); leave them out, or describe it in a YAML of your own."
        )
    asked = known_names(options.splits or list(spec.splits), list(spec.splits), "--splits")
    texts = [
        text
        for split in asked
        if split in found.splits
        for text in _of_split(folder / spec.file_split(split), found.splits[split])
    ]
    names = {picture.image_id: picture.file_name for pictures in found.splits.values() for picture in pictures}
    mapping = folder.parent / spec.name / MAPPING if folder.name == f"{spec.name}_precomp" else folder.parent / MAPPING
    return [*texts, TextFile(mapping, json.dumps(names, indent=0, ensure_ascii=False) + "\n", len(names))]


def _of_split(stem: Path, pictures: list[Annotated]) -> list[TextFile]:
    """The image id stands once per caption, as in SCAN's files, so that any number of captions will do."""
    columns = {
        "caps": [caption for picture in pictures for caption in picture.captions],
        "ids": [picture.image_id for picture in pictures for _ in picture.captions],
    }
    if all(picture.caption_ids is not None for picture in pictures):
        columns["caption_ids"] = [str(number) for picture in pictures for number in picture.caption_ids]
    return [
        TextFile(stem.with_name(f"{stem.name}_{name}.txt"), "".join(f"{line}\n" for line in lines), len(lines))
        for name, lines in columns.items()
    ]


def _tell_of_pictures(options: PrepareOptions, spec: DatasetSpec, say: Say) -> None:
    """Captions alone serve too, so pictures that are not there are only told of."""
    dataset = open_dataset(options.dataset, options.data_root)
    for split in spec.splits:
        if not dataset.captions_path(split).exists():
            say(f"{split}: no captions, since the source has no pictures of that split")
            continue
        try:
            count = len(find_pictures(dataset, split, options.images))
        except DataError as error:
            say(f"{split}: {error}")
        else:
            say(f"{split}: {count:,} pictures, all there")
