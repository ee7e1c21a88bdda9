"""The pictures of a data set, found through id_mapping.json: the file of each image id, below images/ beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from PIL import ExifTags, Image, ImageOps

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.json_file import read_json
from itm_harness.datasets.spec import DatasetSpec
from itm_harness.datasets.text.captions import Layout, read_lines

MAPPING = "id_mapping.json"
NAMED = 3  # ids or pictures that a sentence names
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")  # none that starts another program (EPS does)
LARGEST = 89_000_000  # pixels: a small file may announce a picture that fills the memory; here PIL begins to warn

Image.init()  # now rather than at first use: several threads at once would not wait for one another


class Illustrated(Protocol):
    """What is asked of a data set about its pictures."""

    spec: DatasetSpec
    folder: Path
    root: Path

    def layout(self, split: str) -> Layout:
        """Captions and image ids of a split."""
        ...

    def ids_path(self, split: str) -> Path:
        """The file of a split's image ids."""
        ...


def find_pictures(dataset: Illustrated, split: str, images: Path | None = None) -> list[Path]:
    """The picture files of a split, one per image, in its order.

    images: their folder; None = that of the data set's YAML, or images/ beside id_mapping.json. Raises DataError with
    how many are missing, and which, or where a name leads out of the folder.
    """
    mapping = mapping_path(dataset)
    names, ids = _read_mapping(mapping), _image_ids(dataset, split)
    unknown = [image for image in ids if image not in names]
    if unknown:
        raise DataError(
            f"{mapping} has no picture for {len(unknown):,} of the {len(ids):,} image ids of {split} "
            f"({_first(unknown)}); it needs the file name of every id in {dataset.ids_path(split).name}."
        )
    folder = pictures_folder(dataset, images)
    _require_inside(folder, [names[image] for image in ids], mapping)
    missing = [names[image] for image in ids if not (folder / names[image]).is_file()]
    if missing:
        raise DataError(
            f"{folder} lacks {len(missing):,} of the {len(ids):,} pictures of {split} ({_first(missing)}); "
            f"put them there, or name their folder: images: DIR in a data set YAML of your own (prepare: --images DIR)."
        )
    found = [folder / names[image] for image in ids]
    _refuse_links(folder, found)
    return found


def pictures_folder(dataset: Illustrated, images: Path | None = None) -> Path:
    """`images`, else what the YAML names, else images/ beside id_mapping.json; it may not exist."""
    if images or dataset.spec.images:
        return images or dataset.root / dataset.spec.images
    return mapping_path(dataset).parent / "images"


def open_picture(path: Path, smallest: int | None = None) -> Image.Image:
    """A picture in RGB, upright. Raises DataError where it cannot be decoded, or is too large to be.

    smallest: a JPEG may be decoded at a half, a quarter or an eighth of its size, faster, but each side keeps at least
    twice so many pixels.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > LARGEST:
                raise ValueError(f"{picture.width:,} x {picture.height:,} pixels are too many")
            if smallest is not None:
                picture.draft("RGB", (2 * smallest, 2 * smallest))
            picture.load()
            return (ImageOps.exif_transpose(picture) if is_turned(picture) else picture).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be decoded as a picture ({error}); replace it by an intact one.") from error


def is_turned(picture: Image.Image) -> bool:
    """Does the camera's note (EXIF) say that the picture is to be turned or mirrored?"""
    try:
        return picture.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    except Exception:  # a note that cannot be read, in any of many ways, says nothing
        return False


def _require_inside(folder: Path, names: list[str], mapping: Path) -> None:
    """Raises DataError where a name is absolute or climbs out of the folder."""
    wrong = [name for name in names if Path(name).is_absolute() or ".." in Path(name).parts]
    if wrong:
        raise DataError(
            f"{mapping}: {len(wrong):,} file names lead out of {folder} ({_first(wrong)}); "
            f"name files below that folder, without .. or a leading /."
        )


def _refuse_links(folder: Path, paths: list[Path]) -> None:
    """Raises DataError where a picture, or a folder of pictures, is a link that leads out of `folder`."""
    inside = folder.resolve()
    folders = {above for parent in {path.parent for path in paths} for above in (parent, *parent.parents)}
    linked = [path for path in [*sorted(f for f in folders if folder in f.parents), *paths] if path.is_symlink()]
    wrong = [path.name for path in linked if not path.resolve().is_relative_to(inside)]
    if wrong:
        raise DataError(
            f"{folder}: {len(wrong):,} links lead out of it ({_first(wrong)}); put the pictures themselves there, or "
            f"link the whole folder."
        )


def mapping_path(dataset: Illustrated) -> Path:
    """Beside precomp/; in or near <name>_precomp/ the data set's own folder comes first.

    Raises DataError where there is none.
    """
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
    content = read_json(path)
    names = dict(enumerate(content)) if isinstance(content, list) else content
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise DataError(f'{path} is neither a mapping of image ids to file names, {{"0": "a.jpg", ...}}, nor a list.')
    return {str(image): name for image, name in names.items()}


def _image_ids(dataset: Illustrated, split: str) -> list[str]:
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
