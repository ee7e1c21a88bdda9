"""What travels between the readers and the methods: requests for inputs, and batches of tensors.

The only module of datasets/ that methods/ may import.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

if TYPE_CHECKING:  # what a method reads is told without torch
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Words:
    """Ask for SCAN-style word ids: `<pad>` 0, `<start>` 1, `<end>` 2, `<unk>` 3, then words.

    min_count: a word is kept where the training captions hold it at least so often (used if no vocabulary file exists).
    mask_token: append `<mask>` as the last id, which size augmentation needs.
    precomputed: take the ids of `{split}_precaps_stan.txt` where the data has that file (GSMN's Stanford tokens).
    """

    min_count: int = 4
    mask_token: bool = True
    precomputed: bool = False


@dataclass(frozen=True)
class WordPieces:
    """Ask for BERT word pieces, [CLS] and [SEP] included. model: a local folder or a name in the hub cache."""

    model: str


@dataclass(frozen=True)
class CLIPTokens:
    """Ask for the byte pairs of CLIP's own tokenizer. model: open_clip's name of a model, or path/to/config.json."""

    model: str


@dataclass(frozen=True)
class Pixels:
    """Ask for the pictures themselves, each as a square of `side` pixels.

    square: the largest square of a picture (test: the one in the middle); else all of it, whatever its proportions.
    crop: training takes a part whose sides are a random share in [crop, 1] of that, at a random place; test takes all.
    flip: training mirrors every other picture. bicubic: else bilinear; both average where a picture shrinks.
    """

    side: int
    square: bool = False
    crop: float = 1.0
    flip: bool = False
    bicubic: bool = False


@dataclass(frozen=True)
class Inputs:
    """What a method reads; the reader loads only that. Sidecars are named as in the data sets' YAML files."""

    regions: bool = True
    text: Words | WordPieces | CLIPTokens | None = None
    image_sidecars: tuple[str, ...] = ()
    text_sidecars: tuple[str, ...] = ()
    pixels: Pixels | None = None


@dataclass(frozen=True)
class TensorFields:
    """Dataclasses of tensors that move between devices as one."""

    def to(self, device: torch.device | str) -> Self:
        """The same batch on `device`; asynchronous where the source is pinned."""
        return replace(self, **{f.name: _move(getattr(self, f.name), device) for f in fields(self)})

    def pin(self) -> Self:
        """The same batch in page-locked memory, so that a copy to a GPU can run beside the computation.

        What lies on a GPU already stays there.
        """
        return replace(self, **{f.name: _pin(getattr(self, f.name)) for f in fields(self)})


def _move(value: Any, device: torch.device | str) -> Any:
    """value: a field of a batch."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {name: _move(item, device) for name, item in value.items()}
    return value.to(device) if isinstance(value, TensorFields) else value.to(device, non_blocking=True)


def _pin(value: Any) -> Any:
    """value: a field of a batch."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {name: _pin(item) for name, item in value.items()}
    if isinstance(value, TensorFields):
        return value.pin()
    return value.pin_memory() if value.device.type == "cpu" else value


@dataclass(frozen=True)
class ImageBatch(TensorFields):
    """Images of a batch.

    ids: (B,) int64, the image's position in its split. regions: (B, N, D) float32, zero behind `lengths`.
    lengths: (B,) int64, valid regions. sidecars: name -> (B, ...) tensor, only those asked for.
    pixels: (B, 3, side, side) uint8, red, green, blue.
    """

    ids: Tensor
    regions: Tensor | None = None
    lengths: Tensor | None = None
    sidecars: dict[str, Tensor] = field(default_factory=dict)
    pixels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class TextBatch(TensorFields):
    """Captions of a batch.

    ids: (B,) int64, the caption's position in its split. image_ids: (B,) int64, the position of its image.
    words: (B, L) int64, zero behind `lengths`. lengths: (B,) int64, valid words incl. start and end tokens.
    sidecars: name -> (B, ...) tensor; ragged ones (dependencies) as (P, 1 + k) int64 rows that start with the row in
    the batch.
    """

    ids: Tensor
    image_ids: Tensor
    words: Tensor | None = None
    lengths: Tensor | None = None
    sidecars: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch(TensorFields):
    """B pairs: row i of `images` belongs to row i of `texts`; an image may occur in several rows."""

    images: ImageBatch
    texts: TextBatch

    def __len__(self) -> int:
        return len(self.texts)


class TrainingSplit(Protocol):
    """What `Method.fit` sees of the training split."""

    captions: Sequence[str]
    n_images: int
    n_texts: int
    image_of_text: Tensor  # (n_texts,) int64

    def sidecar(self, name: str) -> np.ndarray:
        """The whole sidecar, memory-mapped: one row per image or per caption as its declaration says."""
        ...


class DataSizes(Protocol):
    """The sizes that a data set decides, known before anything is read."""

    @property
    def region_dim(self) -> int:
        """Width of a region feature."""
        ...

    def vocabulary(self, words: Words) -> Sized:
        """The words that have ids, special ones included."""
        ...

    def size_of(self, sidecar: str) -> int:
        """Last axis of a sidecar array."""
        ...
