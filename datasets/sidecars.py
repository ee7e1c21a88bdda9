"""Optional files beside the features: vectors, boxes, sizes of pictures, dependency pairs. Read only if asked for."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.arrays import Packed, announce, as_batched, first_non_finite, open_array, view_rows
from itm_harness.datasets.files.contents import array_hash
from itm_harness.datasets.files.json_file import read_json
from itm_harness.datasets.spec import DatasetSpec, SidecarSpec
from itm_harness.datasets.text.captions import Layout
from itm_harness.datasets.text.tokens import ragged_positions

IN_PICTURE = 1.5  # corners above this are pixels, not shares of the picture


def find_sidecar(dataset: DatasetSpec, name: str, folder: Path, split: str) -> Path | None:
    """A sidecar's file for a split, None where there is none. Raises DataError where a * fits several files."""
    for pattern in dataset.sidecar(name).patterns(split, dataset.file_split(split)):
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise DataError(
                f"{folder}: {names} all fit {pattern}; keep one, or name it in a data set YAML of your own."
            )
        if found:
            return found[0]
    return None


def missing_sentence(dataset: DatasetSpec, name: str, folder: Path, split: str) -> str:
    """Which file of a sidecar is missing, what it is, and how to get it."""
    spec = dataset.sidecar(name)
    patterns = spec.patterns(split, dataset.file_split(split))
    if not patterns:
        return f"{dataset.name} has no files of sidecar {name} for {split} ({spec.what}); {spec.made_by}."
    alternatives = f" (or {', '.join(patterns[1:])})" if len(patterns) > 1 else ""
    return f"{folder / patterns[0]}{alternatives} is missing: {spec.what} (sidecar {name}); {spec.made_by}."


def sidecar_missing(dataset: DatasetSpec, name: str, folder: Path, split: str) -> str | None:
    """A sentence where a sidecar's file is missing, or the sizes that its boxes in pixels need; else None."""
    path = find_sidecar(dataset, name, folder, split)
    if path is None:
        return missing_sentence(dataset, name, folder, split)
    if (
        dataset.sidecar(name).kind == "boxes"
        and not _tells_sizes(dataset, folder, split)
        and in_pixels(open_array(path))
    ):
        return _no_sizes(path)
    return None


def open_sidecar(dataset: DatasetSpec, name: str, folder: Path, split: str, layout: Layout) -> Sidecar:
    """Open a sidecar of a split. Raises DataError where the file is missing or does not fit the split."""
    spec, path = dataset.sidecar(name), find_sidecar(dataset, name, folder, split)
    if path is None:
        raise DataError(missing_sentence(dataset, name, folder, split))
    if spec.kind == "pairs":
        return PairsSidecar(spec, path, layout)
    if spec.kind == "sizes":
        return SizesSidecar(spec, path, layout)
    if spec.kind == "boxes":
        return BoxesSidecar(spec, path, layout, _picture_sizes(dataset, folder, split, layout))
    return Sidecar(spec, path, layout)


class Sidecar:
    """An array with a row per image or caption.

    rows: (n,) int64, the file's row of each image or text in a gallery. pair_rows: (n_texts,), its row in a pair with
    that caption: files that hold an image's descriptions per caption give each caption its own.
    """

    def __init__(self, spec: SidecarSpec, path: Path, layout: Layout) -> None:
        self.spec, self.path = spec, path
        self.array = self._open()
        self.rows = self._matched(len(self.array), layout)
        own = spec.side == "text" or (spec.rows == "caption" and len(self.array) == layout.n_texts)
        self.pair_rows = np.arange(layout.n_texts) if own else self.rows[layout.image_of_text]

    def _matched(self, count: int, layout: Layout) -> np.ndarray:
        """The row of each image or text in a file of `count` rows. Raises DataError where they do not fit."""
        if self.spec.side == "image":
            rows = layout.image_rows(count)
        else:
            rows = np.arange(count) if count == layout.n_texts else None
        if rows is None:
            raise DataError(
                f"{self.path} holds {count:,} rows, but the split has {layout.n_images:,} images and "
                f"{layout.n_texts:,} captions; it needs one row per {self.spec.rows}: {self.spec.made_by}."
            )
        return rows

    def _open(self) -> np.ndarray:
        array = open_array(self.path)
        if array.dtype.kind not in "fiub" or array.ndim < 2:
            raise DataError(
                f"{self.path} holds {array.dtype} of shape {array.shape}; "
                f"expected numbers, one row per {self.spec.rows}."
            )
        return array

    def gather(self, rows: np.ndarray, packed: Packed | None = None) -> np.ndarray:
        """The file's rows, (B, ...): floats as float32, whole numbers as int64. Raises DataError where not finite.

        packed: the regions that stay; boxes are packed like them.
        """
        announce(self.array, rows)
        values = as_batched(self.array.take(rows, axis=0))
        bad = first_non_finite(values)
        if bad is not None:
            raise DataError(f"{self.path}, row {rows[bad]}: the numbers are not finite (NaN or inf); make it anew.")
        return values

    def view(self, rows: np.ndarray) -> np.ndarray:
        """The file's rows as they are, memory-mapped where they are evenly spaced."""
        return view_rows(self.array, rows)

    def content_hash(self, whole: bool = False) -> str:
        """Hash of all that it is read from; of a large file only blocks, unless `whole`."""
        return array_hash(self.array, whole)


class SizesSidecar(Sidecar):
    """Width and height of each picture: records image_w, image_h, or an (N, 2) array."""

    def _open(self) -> np.ndarray:
        array = open_array(self.path)
        if array.dtype.names:
            if not {"image_w", "image_h"} <= set(array.dtype.names):
                raise DataError(f"{self.path} has fields {array.dtype.names}; expected image_w and image_h.")
            array = np.stack([array["image_w"], array["image_h"]], axis=-1).reshape(len(array), 2).astype(np.float32)
        if array.ndim != 2 or array.shape[1] != 2 or not (array > 0).all():
            raise DataError(
                f"{self.path} does not hold a positive width and height per image; write records image_w, image_h."
            )
        return array


class BoxesSidecar(Sidecar):
    """Corners x1, y1, x2, y2 per region, as shares of the picture. sizes: (n_images, 2), for files in pixels."""

    def __init__(self, spec: SidecarSpec, path: Path, layout: Layout, sizes: np.ndarray | None) -> None:
        super().__init__(spec, path, layout)
        self._divisors = None
        if in_pixels(self.array):
            if sizes is None:
                raise DataError(_no_sizes(path))
            image_of_row = np.arange(layout.n_images) if len(self.array) == layout.n_images else layout.image_of_text
            self._divisors = np.tile(sizes, 2).astype(np.float32)[image_of_row]  # (rows, 4): w, h, w, h

    def _open(self) -> np.ndarray:
        array = super()._open()
        if array.ndim != 3 or array.shape[2] != 4:
            raise DataError(f"{self.path} has shape {array.shape}; expected (images, regions, 4): x1, y1, x2, y2.")
        return array

    def gather(self, rows: np.ndarray, packed: Packed | None = None) -> np.ndarray:
        """(B, L, 4) float32 in 0..1, packed like the regions, zero behind the kept ones."""
        boxes = super().gather(rows).astype(np.float32, copy=False)  # a copy: the file is never touched
        if self._divisors is not None:
            boxes /= self._divisors[rows, None]
        if packed is not None:
            boxes = np.take_along_axis(boxes, packed.order[:, :, None], axis=1)
            boxes[packed.padding] = 0
        return boxes

    def content_hash(self, whole: bool = False) -> str:
        """That of the boxes, and of the pictures' sizes where those count."""
        boxes = super().content_hash(whole)
        return boxes if self._divisors is None else f"{boxes}-{array_hash(self._divisors)}"


class PairsSidecar(Sidecar):
    """Dependency pairs [head, dependent] of each caption, ROOT first, in the file's order.

    array: the pairs of all captions one behind the other, (P, 2) int32. offsets: (n_texts + 1,) int64.
    """

    def __init__(self, spec: SidecarSpec, path: Path, layout: Layout) -> None:
        self.spec, self.path = spec, path
        self.array, self.offsets = _read_pairs(path)
        self.rows = self.pair_rows = self._matched(len(self.offsets) - 1, layout)

    def gather(self, rows: np.ndarray, packed: Packed | None = None) -> np.ndarray:
        """(P, 3) int64: row in the batch, head, dependent."""
        source, offsets = ragged_positions(self.offsets, rows)
        batch_row = np.repeat(np.arange(len(rows)), np.diff(offsets))
        return np.column_stack([batch_row, self.array[source]]).astype(np.int64)

    def view(self, rows: np.ndarray) -> np.ndarray:
        """(P, 3): position in rows, head, dependent."""
        return self.gather(rows)

    def content_hash(self, whole: bool = False) -> str:
        """That of the pairs, and of where each caption's begin."""
        return f"{super().content_hash(whole)}-{array_hash(self.offsets)}"


def _read_pairs(path: Path) -> tuple[np.ndarray, np.ndarray]:
    per_caption = read_json(path)
    try:
        lengths = [len(pairs) for pairs in per_caption]
        flat = np.array(list(chain.from_iterable(per_caption)), np.int32)
        if flat.shape != (sum(lengths), 2):
            raise ValueError("not two numbers each")
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"{path} does not hold a JSON list of [head, dependent] pairs per caption ({error}); write it anew."
        ) from error
    return flat, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def in_pixels(boxes: np.ndarray) -> bool:
    """Are boxes, (rows, N, 4), in pixels rather than in shares of the picture? A few rows tell."""
    probes = np.unique(np.linspace(0, len(boxes) - 1, num=min(len(boxes), 16), dtype=np.int64))
    return bool(np.nanmax(boxes[probes], initial=0) > IN_PICTURE)


def _no_sizes(path: Path) -> str:
    return (
        f"{path} holds boxes in pixels, but no file beside it holds the pictures' sizes (sidecar image_sizes); add it, "
        f"or picture_size: [width, height] in a data set YAML of your own."
    )


def _sizes_sidecar(dataset: DatasetSpec, folder: Path, split: str) -> str | None:
    """The name of the sidecar with the pictures' sizes, None where its file is not there."""
    named = (name for name, spec in dataset.sidecars.items() if spec.kind == "sizes")
    return next((name for name in named if find_sidecar(dataset, name, folder, split)), None)


def _tells_sizes(dataset: DatasetSpec, folder: Path, split: str) -> bool:
    return dataset.picture_size is not None or _sizes_sidecar(dataset, folder, split) is not None


def _picture_sizes(dataset: DatasetSpec, folder: Path, split: str, layout: Layout) -> np.ndarray | None:
    """(n_images, 2) width and height, None where nothing tells them."""
    name = _sizes_sidecar(dataset, folder, split)
    if name:
        sizes = open_sidecar(dataset, name, folder, split, layout)
        return sizes.array[sizes.rows]
    if dataset.picture_size:
        return np.broadcast_to(np.array(dataset.picture_size), (layout.n_images, 2))
    return None
