"""Captions and image ids of a split: which caption belongs to which image, whatever way the files say it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itm_harness.datasets.errors import DataError

MAX_CHARACTERS = 10_000  # of a caption: a batch is padded to its longest one


@dataclass(frozen=True)
class Layout:
    """A split as its files hold it.

    captions: one per line. image_of_text: (n_texts,) int64. first_text: (n_images,) int64, an image's first caption.
    image_ids: one per image, as in the ids file; its position where there is none.
    """

    captions: list[str]
    image_of_text: np.ndarray
    first_text: np.ndarray
    image_ids: list[str]

    @property
    def n_images(self) -> int:
        """Images of the split."""
        return len(self.image_ids)

    @property
    def n_texts(self) -> int:
        """Captions of the split."""
        return len(self.captions)

    def image_rows(self, rows: int) -> np.ndarray | None:
        """(n_images,): the row of each image in a file with so many rows: one per image, or one per caption."""
        if rows == self.n_images:
            return np.arange(self.n_images)
        return self.first_text if rows == self.n_texts else None


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file, stripped. Raises DataError where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text ({error}); convert or download it again.") from error
    lines = text.split("\n")
    return [line.strip() for line in (lines[:-1] if not lines[-1].strip() else lines)]


def read_captions(path: Path) -> list[str]:
    """One caption a line. Raises DataError on one that is empty or beyond MAX_CHARACTERS, with its line."""
    captions = read_lines(path)
    if not captions:
        raise DataError(f"{path} is empty; it should hold one caption a line.")
    longest = max(captions, key=len)
    if len(longest) > MAX_CHARACTERS:
        raise DataError(
            f"{path}, line {captions.index(longest) + 1}: a caption of {len(longest):,} characters, more than "
            f"{MAX_CHARACTERS:,}; shorten it, or check whether its line ends are lost."
        )
    if "" in captions:
        line = captions.index("") + 1
        raise DataError(f"{path}, line {line}: the caption is empty; write one, or remove its image from all files.")
    return captions


def read_layout(
    captions_path: Path, ids_path: Path, feature_rows: int | None, repeated: bool, per_image: int
) -> Layout:
    """Read captions and ids of a split.

    The ids file holds a line per caption or per image, or is missing; then features with one row per image tell how
    many captions an image has, and else per_image says it. feature_rows: rows of the features file (None: not read).
    repeated: its rows come in equal runs of per_image (old SCAN files).
    Raises DataError where the counts do not fit together.
    """
    captions = read_captions(captions_path)
    ids = read_lines(ids_path) if ids_path.exists() else []
    if len(ids) == len(captions):
        image_ids, first, image_of_text = _grouped(ids)
        if len(image_ids) < len(captions) or not _says_otherwise(len(ids), feature_rows, repeated):
            return Layout(captions, image_of_text, first, image_ids)
        ids = []  # numbers of lines rather than ids of images
    n_images = _count_images(len(captions), len(ids), feature_rows, repeated, per_image)
    if len(captions) % n_images:
        raise DataError(_uneven(captions_path, ids_path, len(captions), len(ids), feature_rows, per_image))
    each = len(captions) // n_images
    image_of_text = np.repeat(np.arange(n_images), each)
    return Layout(captions, image_of_text, np.arange(n_images) * each, ids or [str(i) for i in range(n_images)])


def _grouped(ids: list[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Distinct ids in order of appearance, the position of each one's first line, and each line's number among them."""
    number: dict[str, int] = {}
    image_of_text = np.fromiter((number.setdefault(i, len(number)) for i in ids), np.int64, len(ids))
    return list(number), np.unique(image_of_text, return_index=True)[1], image_of_text


def _says_otherwise(n_ids: int, feature_rows: int | None, repeated: bool) -> bool:
    return repeated or (feature_rows is not None and feature_rows < n_ids and n_ids % feature_rows == 0)


def _count_images(n_texts: int, n_ids: int, feature_rows: int | None, repeated: bool, per_image: int) -> int:
    if n_ids:
        return n_ids
    if feature_rows and not repeated:
        return feature_rows
    return max(n_texts // per_image, 1) if n_texts % per_image == 0 else n_texts + 1  # + 1: never divides


def _uneven(
    captions_path: Path, ids_path: Path, n_texts: int, n_ids: int, feature_rows: int | None, per_image: int
) -> str:
    if n_ids:
        counted = f"{n_ids:,} ids in {ids_path.name}"
    elif feature_rows:
        counted = f"{feature_rows:,} rows of features"
    else:
        counted = f"{per_image} captions per image"
    return (
        f"{captions_path} holds {n_texts:,} captions, which is no multiple of the images ({counted}); "
        f"repair the captions file, or write {ids_path.name} with the image id of every caption."
    )
