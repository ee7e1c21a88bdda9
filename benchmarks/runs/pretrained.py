"""Which files of pre-trained weights a configuration reads, and the hashes of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from itm_harness.benchmarks.preparing.weight_revisions import Place, backbone_place, clip_place
from itm_harness.datasets.files.cache import cached
from itm_harness.datasets.pictures.model_files import WEIGHTS, cached_file, cached_folder
from itm_harness.methods.config import TextConfig
from itm_harness.methods.encoders.backbone_names import PRETRAINED
from itm_harness.methods.encoders.backbones import RECIPE, SHIPPED
from itm_harness.methods.encoders.grid_config import GridConfig
from itm_harness.methods.encoders.tower_config import TowerConfig
from itm_harness.methods.encoders.weights import find_weights

HASHES = "hashes"  # folder of the cache


def pretrained_hashes(config: BaseModel) -> dict[str, str]:
    """Dotted recipe key and name of each file of pre-trained weights -> SHA-256 of its content, as sha256sum gives it.

    Raises MethodError where a file is not there.
    """
    return {
        f"{key}/{file.name}": file_hash(file)
        for key_of_part, part in _parts(config)
        for key, files in _weights(key_of_part, part)
        for file in files
    }


def file_hash(file: Path) -> str:
    """SHA-256 of a file's content; it is read once, as long as its path, size and time stay the same."""
    status = file.stat()
    sign = f"{file.resolve()} {status.st_size} {status.st_mtime_ns}".encode()
    return cached(HASHES, [sign], lambda: {"sha256": np.frombuffer(_digest(file), np.uint8)})["sha256"].tobytes().hex()


def _digest(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()


def _parts(config: BaseModel, above: str = "") -> Iterator[tuple[str, BaseModel]]:
    """The configurations inside of a configuration, by their dotted keys."""
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            yield f"{above}{name}", value
            yield from _parts(value, f"{above}{name}.")


def _weights(key: str, part: BaseModel) -> Iterator[tuple[str, list[Path]]]:
    """Recipe key -> the files that a part reads; nothing of weights that are drawn."""
    match part:
        case TextConfig(bert=str(name), bert_sizes=None):
            yield f"{key}.bert", _bert_files(name)
        case TowerConfig(model=str(model), weights=weights):
            yield f"{key}.weights", _in_hub(clip_place(model, weights)) or [Path(weights)]
        case GridConfig(backbone=str(name), weights=str(weights)):
            yield f"{key}.weights", _in_hub(backbone_place(name, weights)) or [_backbone_file(name, weights)]


def _bert_files(name: str) -> list[Path]:
    """Of safetensors and of torch's format those that transformers prefers; all of them where there are several."""
    folder = Path(name) if Path(name).is_dir() else cached_folder(name)
    found = (sorted(folder.glob(f"*{suffix}")) for suffix in WEIGHTS) if folder else ()
    return next((files for files in found if files), [])


def _in_hub(place: Place) -> list[Path]:
    """The file in the hub's cache of a place, the first of its names that is there."""
    repository, names = place
    found = (cached_file(repository, name) for name in names)
    return next(([file] for file in found if file is not None), [])


def _backbone_file(name: str, weights: str) -> Path:
    return find_weights(SHIPPED[name].file if weights == PRETRAINED else weights, name, RECIPE)
