"""Optional files beside the features: vectors, boxes, sizes of pictures, dependency pairs. Read only if asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets.arrays import open_array, packed_order, take_rows, to_tensor, view_rows
from datasets.captions import Layout
from datasets.errors import DataError
from datasets.spec import DatasetSpec, SidecarSpec
from datasets.text import ragged_positions

IN_PICTURE = 1.5  # corners above this are pixels, not shares of the picture


def find_sidecar(spec: SidecarSpec, folder: Path, split: str, file_split: str) -> Path | None:
    """The sidecar's file for a split, None where there is none. Raises DataError where a * fits several files."""
    for pattern in spec.patterns(split, file_split):
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


def open_sidecar(dataset: DatasetSpec, name: str, folder: Path, split: str, layout: Layout) -> Sidecar:
    """Open a sidecar of a split. Raises DataError where the file is missing or does not fit the split."""
    spec = dataset.sidecar(name)
    path = find_sidecar(spec, folder, split, dataset.file_split(split))
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

    per_region = False

    def __init__(self, spec: SidecarSpec, path: Path, layout: Layout) -> None:
        self.spec, self.path = spec, path
        self.array = self._open()
        count = len(self.array)
        rows = layout.image_rows(count) if spec.side == "image" else layout.text_rows(count)
        if rows is None or (spec.side == "text" and count != layout.n_texts):
            raise DataError(
                f"{path} holds {count:,} rows, but the split has {layout.n_images:,} images and {layout.n_texts:,} "
                f"captions; it needs one row per {spec.rows}: {spec.made_by}."
            )
        self.rows = rows
        by_caption = spec.rows == "caption" and count == layout.n_texts
        self.pair_rows = np.arange(count) if spec.side == "text" or by_caption else rows[layout.image_of_text]

    def _open(self) -> np.ndarray:
        array = open_array(self.path)
        if array.dtype.kind not in "fiub" or array.ndim < 2:
            raise DataError(
                f"{self.path} holds {array.dtype} of shape {array.shape}; "
                f"expected numbers, one row per {self.spec.rows}."
            )
        return array

    def gather(self, rows: np.ndarray, kept: np.ndarray | None = None) -> Tensor:
        """The file's rows, (B, ...). kept: (B, N) bool, regions that stay; only where rows are per region."""
        return take_rows(self.array, rows)

    def view(self, count: int, per_caption: bool) -> np.ndarray:
        """Rows of the first `count` images or texts, or with per_caption of an image file's first `count` captions."""
        return view_rows(self.array, (self.pair_rows if per_caption else self.rows)[:count])


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

    per_region = True

    def __init__(self, spec: SidecarSpec, path: Path, layout: Layout, sizes: np.ndarray | None) -> None:
        super().__init__(spec, path, layout)
        self._divisors = None
        if self._in_pixels():
            if sizes is None:
                raise DataError(
                    f"{path} holds boxes in pixels, but there is no file with the pictures' sizes beside it "
                    f"(image_sizes); add it, or picture_size: [width, height] in a data set YAML of your own."
                )
            corners = np.tile(sizes, 2).astype(np.float32)  # (n_images, 4): w, h, w, h
            self._divisors = np.ones((len(self.array), 4), np.float32)
            if len(self.array) == layout.n_images:
                self._divisors[:] = corners
            else:
                self._divisors[:] = corners[layout.image_of_text]

    def _open(self) -> np.ndarray:
        array = super()._open()
        if array.ndim != 3 or array.shape[2] != 4:
            raise DataError(f"{self.path} has shape {array.shape}; expected (images, regions, 4): x1, y1, x2, y2.")
        return array

    def _in_pixels(self) -> bool:
        probes = np.unique(np.linspace(0, len(self.array) - 1, num=min(len(self.array), 16), dtype=np.int64))
        return bool(np.nanmax(self.array[probes]) > IN_PICTURE)

    def gather(self, rows: np.ndarray, kept: np.ndarray | None = None) -> Tensor:
        """(B, L, 4) float32 in 0..1, packed like the regions, zero behind the kept ones."""
        boxes = self.array.take(rows, axis=0).astype(np.float32)  # a copy: the file is never touched
        if self._divisors is not None:
            boxes /= self._divisors[rows, None]
        if kept is not None:
            order, lengths = packed_order(kept)
            boxes = np.take_along_axis(boxes, order[:, :, None], axis=1)
            boxes[np.arange(order.shape[1]) >= lengths[:, None]] = 0
        return to_tensor(boxes)


@dataclass(frozen=True)
class _FlatPairs:
    pairs: np.ndarray  # (P, 2) int32
    offsets: np.ndarray  # (n + 1,) int64

    def __len__(self) -> int:
        return len(self.offsets) - 1


class PairsSidecar(Sidecar):
    """Dependency pairs [head, dependent] of each caption, ROOT first, in the file's order."""

    def _open(self) -> np.ndarray:
        self.flat = _read_pairs(self.path)
        return self.flat

    def gather(self, rows: np.ndarray, kept: np.ndarray | None = None) -> Tensor:
        """(P, 3) int64: row in the batch, head, dependent."""
        source, offsets = ragged_positions(self.flat.offsets, rows)
        batch_row = np.repeat(np.arange(len(rows)), np.diff(offsets))
        return torch.from_numpy(np.column_stack([batch_row, self.flat.pairs[source]]).astype(np.int64))

    def view(self, count: int, per_caption: bool) -> np.ndarray:
        """(P, 3): text, head, dependent of the first `count` texts."""
        return self.gather(self.rows[:count]).numpy()


def _read_pairs(path: Path) -> _FlatPairs:
    try:
        per_caption = json.loads(path.read_text(encoding="utf-8"))
        lengths = [len(pairs) for pairs in per_caption]
        flat = np.array(list(chain.from_iterable(per_caption)), np.int32).reshape(-1, 2)
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} does not hold a JSON list of [head, dependent] pairs per caption ({error}); write it anew."
        ) from error
    return _FlatPairs(flat, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))


def _picture_sizes(dataset: DatasetSpec, folder: Path, split: str, layout: Layout) -> np.ndarray | None:
    """(n_images, 2) width and height, None where nothing tells them."""
    for name, spec in dataset.sidecars.items():
        if spec.kind == "sizes" and find_sidecar(spec, folder, split, dataset.file_split(split)):
            sizes = open_sidecar(dataset, name, folder, split, layout)
            return sizes.array[sizes.rows]
    if dataset.picture_size:
        return np.broadcast_to(np.array(dataset.picture_size), (layout.n_images, 2))
    return None
