"""`prepare`: sentence vectors, scene graphs and CLIP vectors of a data set, made once and stored beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np
from rich.console import Console

from benchmarks.atomic import commit, discard, stage
from benchmarks.errors import RunError
from datasets.arrays import open_array
from datasets.clip_model import MODEL, WEIGHTS, CLIPEncoder
from datasets.errors import DataError
from datasets.graphs import read_graphs, relation_numbers
from datasets.manifest import Manifest, manifest_path, read_manifest, rows_print
from datasets.pictures import find_pictures
from datasets.precomp import Dataset, open_dataset
from datasets.prepared import (
    CLIP,
    OPTIONAL,
    SOURCES,
    Content,
    clip_content,
    content,
    is_clip,
    missing_source,
    prepared_path,
    products,
    read_before,
    read_descriptions,
    shows_pictures,
    source_path,
)
from datasets.sentence_models import TransformersEncoder
from datasets.sentences import EmbeddedEncoder, SentenceEncoder
from datasets.spec import nearest

EMBEDDED = EmbeddedEncoder.name
WIDTH = 512


@dataclass(frozen=True)
class PrepareOptions:
    """What the command line asked for. encoder: embedded, or a transformers model. width: None = the encoder's own.

    splits: empty = all of the data set. force: replace files that this command did not make, and make all anew.
    clip_model: open_clip's name of a model, or a configuration. clip_weights: their name in the hub, or a file.
    images: the folder of the pictures, None = the data set's own.
    """

    dataset: str
    data_root: Path | None = None
    what: Sequence[str] = tuple(SOURCES)
    encoder: str = EMBEDDED
    width: int | None = None
    splits: Sequence[str] = ()
    force: bool = False
    clip_model: str = MODEL
    clip_weights: str = WEIGHTS
    images: Path | None = None


def prepare(options: PrepareOptions, console: Console) -> list[Path]:
    """Make what is asked for and not there yet; returns the files that were written.

    Each file is written whole or not at all, with a manifest beside it. Raises RunError or DataError before anything is
    made where texts or pictures are missing, or where a file of somebody else's is in the way.
    """
    job = _Preparation(options, open_dataset(options.dataset, options.data_root), console)
    targets = job.targets()
    job.refuse_foreign(targets)
    return [path for product, split in targets if (path := job.make(product, split))]


class _Preparation:
    def __init__(self, options: PrepareOptions, dataset: Dataset, console: Console) -> None:
        self.options, self.dataset, self.console = options, dataset, console
        self.what = _known(options.what, [*SOURCES, CLIP], "--what")
        self.splits = _known(options.splits or list(dataset.spec.splits), list(dataset.spec.splits), "--splits")

    def targets(self) -> list[tuple[str, str]]:
        """(product, split) of all files to make. Raises DataError with every text and the pictures that are missing."""
        model = self.options.clip_model
        wanted = [(p, split) for split in self.splits for what in self.what for p in products(what, model)]
        missing, targets = [], []
        for product, split in wanted:
            sentence = self._missing(product, split)
            if sentence is None:
                targets += [(product, split)] if self._is_read(product, split) else []
            elif product not in OPTIONAL and sentence not in missing:
                missing.append(sentence)
        if missing:
            raise DataError("\n".join(missing))
        return targets

    def _missing(self, product: str, split: str) -> str | None:
        """What a product would be made of and is not there."""
        source = source_path(self.dataset, product, split)
        if source is not None and not source.exists():
            return missing_source(source)
        try:
            if shows_pictures(product):
                find_pictures(self.dataset, split, self.options.images)
        except DataError as error:
            return str(error)
        return None

    def _is_read(self, product: str, split: str) -> bool:
        other = read_before(self.dataset, product, split)
        if other is not None and is_clip(product):
            raise RunError(
                f"{other} is there: vectors of another CLIP model, and a run reads those of one; move the files of "
                f"that model away, or name those to be read in a data set YAML of your own."
            )
        if other is not None:
            self._say(f"{self._name(prepared_path(self.dataset, product, split))}: not needed, {other.name} is there")
        return other is None

    def refuse_foreign(self, targets: list[tuple[str, str]]) -> None:
        """Raises RunError where a file is in the way that this command did not make."""
        for product, split in targets:
            path = prepared_path(self.dataset, product, split)
            if path.exists() and not self.options.force and _made(path) is None:
                raise RunError(
                    f"{path} is there, and no manifest beside it says that this command made it; "
                    f"move it away, or replace it with --force."
                )

    def make(self, product: str, split: str) -> Path | None:
        """Make one file, unless it is there already."""
        path, began = prepared_path(self.dataset, product, split), time.monotonic()
        wanted = self._content(product, split)
        manifest = wanted.manifest
        made = _made(path) if path.exists() and not self.options.force else None
        if made is not None and made.same_content(manifest):
            self._say(f"{self._name(path)}: already made, {_about(manifest)}")
            return None
        write_prepared(path, wanted, manifest)
        size, seconds = path.stat().st_size / 1e6, time.monotonic() - began
        self._say(f"{self._name(path)}: {_about(manifest)}, {size:,.1f} MB, {seconds:.1f} s")
        return path

    def _content(self, product: str, split: str) -> Content:
        if is_clip(product):
            return clip_content(self.dataset, product, split, self.clip, self.options.images)
        return content(self.dataset, product, split, self.encoder, self.numbers)

    @cached_property
    def clip(self) -> CLIPEncoder:
        """CLIP, which loads its weights when it is first used."""
        return CLIPEncoder(self.options.clip_model, self.options.clip_weights)

    @cached_property
    def encoder(self) -> SentenceEncoder:
        """The encoder, fitted on the training split. Raises RunError where --dim does not suit it."""
        name, width = self.options.encoder, self.options.width
        if name == EMBEDDED:
            encoder = EmbeddedEncoder(width or WIDTH)
            encoder.fit(self._training_texts())
            return encoder
        model = TransformersEncoder(name)
        if width not in (None, model.width):
            raise RunError(f"--dim {width}: vectors of {name} have {model.width} numbers; leave --dim out.")
        return model

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Relation -> its number, from the training split."""
        source = source_path(self.dataset, "relations", "train")
        if "graphs" not in self.what:
            return {}
        if not source.exists():
            raise DataError(missing_source(source))
        return relation_numbers(read_graphs(source, self.dataset.layout("train").captions))

    def _training_texts(self) -> list[str]:
        """Captions, and whatever descriptions there are."""
        layout = self.dataset.layout("train")
        paths = [source_path(self.dataset, product, "train") for product in SOURCES["sentences"]]
        return [
            *layout.captions,
            *(text for path in paths if path and path.exists() for text in read_descriptions(path, layout)),
        ]

    def _name(self, path: Path) -> str:
        return path.relative_to(self.dataset.folder).as_posix()

    def _say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, highlight=False)


def write_prepared(path: Path, made: Content, manifest: Manifest) -> None:
    """Write a file and its manifest. At no moment does a manifest stand beside another file than it describes.

    Raises RunError where the place cannot be written, DataError where a number is not finite.
    """
    staged = stage(path, lambda file: _write_array(file, manifest, made.batches(), path))
    described = manifest.model_copy(update={"rows": rows_print(open_array(staged))})
    try:
        text = described.model_dump_json(indent=1) + "\n"
        staged_manifest = stage(manifest_path(path), lambda file: file.write(text.encode()))
    except BaseException:
        discard(staged)
        raise
    discard(path)  # an older one
    commit(staged_manifest, manifest_path(path))
    commit(staged, path)


def _write_array(file: BinaryIO, manifest: Manifest, batches: Iterator[np.ndarray], path: Path) -> None:
    """The .npy format, batch by batch: nothing is held whole."""
    dtype = np.dtype(manifest.dtype)
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": manifest.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for batch in batches:
        if batch.dtype.kind == "f" and not np.isfinite(batch).all():
            raise DataError(f"{path} is not written: encoder {manifest.encoder} gave numbers that are not finite.")
        file.write(batch.astype(dtype, copy=False).tobytes())


def _made(path: Path) -> Manifest | None:
    """The manifest of a file; None where none describes it, or it is damaged."""
    try:
        return read_manifest(path)
    except DataError:
        return None


def _about(manifest: Manifest) -> str:
    return f"{' x '.join(f'{n:,}' for n in manifest.shape)}, {manifest.label}"


def _known(names: Sequence[str], known: list[str], option: str) -> list[str]:
    for name in names:
        if name not in known:
            raise RunError(f"{option} {name}: unknown{nearest(name, known)}; use {', '.join(known)}.")
    return list(names)
