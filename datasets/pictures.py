"""The pictures of a data set, found through id_mapping.json: the file of each image id, below images/ beside it."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from datasets.captions import read_lines
from datasets.errors import DataError
from datasets.precomp import Dataset

MAPPING = "id_mapping.json"
NAMED = 3  # ids or pictures that a sentence names


def find_pictures(dataset: Dataset, split: str, images: Path | None = None) -> list[Path]:
    """The picture files of a split, one per image, in its order.

    images: their folder; None = images/ beside id_mapping.json. Raises DataError with how many are missing, and which.
    """
    mapping = _mapping_path(dataset)
    names, ids = _read_mapping(mapping), _image_ids(dataset, split)
    unknown = [image for image in ids if image not in names]
    if unknown:
        raise DataError(
            f"{mapping} has no picture for {len(unknown):,} of the {len(ids):,} image ids of {split} "
            f"({_first(unknown)}); it needs the file name of every id in {dataset.ids_path(split).name}."
        )
    folder = images or mapping.parent / "images"
    missing = [names[image] for image in ids if not (folder / names[image]).is_file()]
    if missing:
        raise DataError(
            f"{folder} lacks {len(missing):,} of the {len(ids):,} pictures of {split} ({_first(missing)}); "
            f"put them there, or name their folder with --images DIR."
        )
    return [folder / names[image] for image in ids]


def open_picture(path: Path) -> Image.Image:
    """A picture in RGB. Raises DataError where it cannot be decoded."""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be decoded as a picture ({error}); replace it by an intact one.") from error


def _mapping_path(dataset: Dataset) -> Path:
    """Beside precomp/; in or near <name>_precomp/ the data set's own folder comes first."""
    places = [dataset.folder, dataset.root / dataset.spec.name, dataset.folder.parent]
    found = next((place / MAPPING for place in places if (place / MAPPING).is_file()), None)
    if found is None:
        looked = " nor ".join(str(place / MAPPING) for place in dict.fromkeys(places))
        raise DataError(
            f'there is no {looked}, which tells the picture of each image id; write one, {{"0": "a.jpg", ...}}, '
            f"with the pictures in images/ beside it."
        )
    return found


def _read_mapping(path: Path) -> dict[str, str]:
    """Image id -> file name, of a mapping or of a list by position."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); write or download it again.") from error
    names = dict(enumerate(content)) if isinstance(content, list) else content
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise DataError(f'{path} is neither a mapping of image ids to file names, {{"0": "a.jpg", ...}}, nor a list.')
    return {str(image): name for image, name in names.items()}


def _image_ids(dataset: Dataset, split: str) -> list[str]:
    """The id of each image. Raises DataError where no file tells it: positions are not ids."""
    layout, path = dataset.layout(split), dataset.ids_path(split)
    if not path.exists() or len(set(read_lines(path))) != layout.n_images:
        raise DataError(
            f"{path} does not tell the ids of the {layout.n_images:,} images of {split}, so their pictures cannot be "
            f"found; write the image id of every caption, one a line."
        )
    return layout.image_ids


def _first(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
