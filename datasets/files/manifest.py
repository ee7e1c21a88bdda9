"""Beside a prepared file: how it was made. FILE.npy has FILE.npy.json."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from itm_harness.datasets.files.arrays import open_array
from itm_harness.datasets.spec import Spec


class Manifest(Spec):
    """How a file was made.

    encoder: what made it. pooling: how a model's word vectors became one. weights: which ones, where there are several
    under one name. fitted: does the file only fit others of the same state? texts, state: fingerprints of what was
    encoded and of the encoder (of a model: of its weights). revision: the model's commit in its hub, where it is known.
    source: what made the texts that were encoded, "" where they came with the data. shape, dtype: of the file; of a
    text file (items,) and "text". libraries: versions, where a model computed. rows: fingerprint of a few rows, which
    tells whether the file is the one that was described.
    """

    encoder: str
    pooling: str = ""
    weights: str = ""
    fitted: bool
    texts: str
    state: str
    revision: str = ""
    source: str = ""
    shape: tuple[int, ...]
    dtype: str
    libraries: dict[str, str] = Field(default_factory=dict)
    rows: str = ""

    @property
    def label(self) -> str:
        """What made it, as records show it."""
        more = self.pooling or self.weights
        label = f"{self.encoder} ({more})" if more else self.encoder
        return f"{label} of {self.source}" if self.source else label

    def same_content(self, other: Manifest) -> bool:
        """Do both describe the same content? Versions of libraries and the name of a revision do not count."""
        left_out = {"libraries", "revision", "rows"}
        return self.model_dump(exclude=left_out) == other.model_dump(exclude=left_out)


def manifest_path(path: Path) -> Path:
    """Where the manifest of a file lies."""
    return path.with_name(f"{path.name}.json")


def read_manifest(path: Path) -> Manifest | None:
    """How a file was made; None where no manifest lies beside it, or one that describes another file."""
    try:
        manifest = Manifest.model_validate_json(manifest_path(path).read_bytes())
    except (OSError, ValidationError):
        return None
    return manifest if manifest.rows == content_print(path, path.suffix) else None


def content_print(path: Path, suffix: str) -> str:
    """Fingerprint of a file: of an array (.npy) its shape, type and a few rows, else of all its bytes."""
    return rows_print(open_array(path)) if suffix == ".npy" else hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def rows_print(array: np.ndarray) -> str:
    """Fingerprint of an array's shape, type and up to five rows; nothing is read whole."""
    rows = np.unique(np.linspace(0, len(array) - 1, num=min(len(array), 5), dtype=np.int64))
    digest = hashlib.sha256(f"{array.shape} {array.dtype}".encode())
    digest.update(np.ascontiguousarray(array[rows]).tobytes())
    return digest.hexdigest()[:16]
