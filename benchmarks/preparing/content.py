"""What a file will hold, and which file: what a product hands to the frame."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from itm_harness.datasets.files.manifest import Manifest

PREPARED = "prepared"  # folder below the precomp folder: nothing in it has the name of a released file


class Content(Protocol):
    """What a file will hold.

    manifest: how it is made; shape[0] = number of rows. step: rows made at a time. Steps begin at 0, step, 2 step, ...
    whatever was made before, so that a file that was interrupted and resumed holds the same bytes.
    """

    @property
    def manifest(self) -> Manifest: ...

    @property
    def step(self) -> int: ...

    def rows(self, start: int, stop: int) -> np.ndarray | list[str]:
        """The rows from start to stop: an array for .npy, else lines; for .json each an item of the list."""
        ...


@dataclass(frozen=True)
class Source:
    """A file that a target is made of. what: the words for it where it is missing."""

    path: Path
    what: str


@dataclass(frozen=True)
class Target:
    """A file to make. content: called when it is to be made, after the targets before it.

    sources: the files it is made of. check: raises DataError where something else is missing. optional: left out where
    a source is not there. sidecar: the name by which sidecars of the data set declare it, "{split}_…"; None where no
    sidecar reads it. alone: refused, rather than left out, where another file is read in its place.
    """

    path: Path
    split: str
    content: Callable[[], Content]
    sources: Sequence[Source] = ()
    check: Callable[[], object] = lambda: None
    optional: bool = False
    sidecar: str | None = None
    alone: bool = False


class Maker(Protocol):
    """What makes rows: an encoder, a parser, a model. name, weights, revision: as Manifest has them."""

    name: str
    weights: str
    revision: str

    @property
    def state(self) -> str:
        """Fingerprint of all that the rows depend on beside the items."""
        ...

    @property
    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that compute."""
        ...


def whole_batches(maker: object, least: int) -> int:
    """The step of a file: at least so many rows, and whole batches of a model, so that none is cut short by a step.

    On the CPU a model's `batch` is fixed, whatever is asked for; so the steps are too, and a file that is gone on with.
    """
    batch = getattr(maker, "batch", 1)
    return -(-least // batch) * batch


def encoded_manifest(
    maker: Maker, items: Sequence[object], shape: tuple[int, ...], dtype: str, source: str = ""
) -> Manifest:
    """The manifest of what `maker` makes of some items. source: what wrote the items, "" where it is not known."""
    return Manifest(
        encoder=maker.name,
        pooling=getattr(maker, "pooling", ""),
        weights=maker.weights,
        fitted=getattr(maker, "fitted", False),
        texts=fingerprint(items),
        state=maker.state,
        revision=maker.revision,
        shape=shape,
        dtype=dtype,
        libraries=maker.libraries,
        source=source,
    )


def shown(paths: Sequence[Path]) -> list[tuple[str, int]]:
    """What stands for the content of picture files in a manifest: names and sizes."""
    return [(path.name, path.stat().st_size) for path in paths]


def fingerprint(values: Sequence[object]) -> str:
    """Sixteen hex digits that tell values from others; JSON must be able to hold them."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
