"""`data check`: what of a data set is on disk, what is missing and for whom, and whether what is there is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from itm_harness.datasets.batch import Inputs, Words
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.arrays import open_array
from itm_harness.datasets.files.check_pictures import broken_pictures
from itm_harness.datasets.files.manifest import read_manifest
from itm_harness.datasets.pictures.folder import find_pictures
from itm_harness.datasets.precomp import Dataset, open_dataset, open_features
from itm_harness.datasets.scan import differing_rows, non_finite_rows
from itm_harness.datasets.sidecars import (
    BoxesSidecar,
    PairsSidecar,
    Sidecar,
    find_sidecar,
    missing_sentence,
    open_sidecar,
)
from itm_harness.datasets.spec import SidecarSpec, find_spec
from itm_harness.datasets.text.captions import Layout
from itm_harness.datasets.text.tokens import WordTokenizer

NAMED = 5  # faulty rows that a sentence names
BOX_SLACK = 0.01  # detectors round corners to beyond the picture
BEYOND = 0.05  # share of captions whose dependencies may point beyond their words: tokenizers differ a little

Tell = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Missing:
    """An optional file that is not there. methods: those that need it, of the methods that were asked about."""

    sentence: str
    methods: tuple[str, ...]


@dataclass
class CheckReport:
    """What `data check` found.

    found: a line per file. missing: optional files that are not there. problems: a sentence each on what must be
    repaired. notes: what is odd but harmless.
    """

    dataset: str
    folder: Path | None = None
    where: str = ""
    found: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Is all that every method needs there, and all that is there right?"""
        return not self.problems

    def lines(self) -> list[str]:
        """The report, for people."""
        missing = [f"{m.sentence} Needed by: {', '.join(m.methods) or 'no shipped method'}." for m in self.missing]
        sections = {"there": self.found, "missing": missing, "notes": self.notes, "problems": self.problems}
        lines = [f"data set {self.dataset}: {self.folder or 'not found'}"]
        for name, entries in sections.items():
            lines += [f"{name}:", *(f"  {entry}" for entry in entries)] if entries else []
        return [
            *lines,
            "no problem found" if self.ok else f"{len(self.problems)} problems: repair them, then check again",
        ]


def check_dataset(
    name_or_yaml: str,
    data_root: Path | None = None,
    methods: Mapping[str, Inputs] | None = None,
    tell: Tell = lambda file: None,
    images: bool = False,
) -> CheckReport:
    """Look at every file of a data set, features and sidecars in full, chunk by chunk.

    methods: name -> what it reads, to say for whom a missing file matters. tell: called with each file's name before
    it is read, and with how many pictures are decoded. images: pictures are wanted, and decoded one and all; else it is
    only looked whether their files are there. Raises DataError only where `name_or_yaml` names no data set; all else is
    in the report.
    """
    spec = find_spec(name_or_yaml)
    report = CheckReport(spec.name, where=spec.where)
    try:
        dataset = open_dataset(name_or_yaml, data_root)
    except DataError as error:
        report.problems.append(str(error))
        return report
    report.folder = dataset.folder
    checker = _Checker(dataset, methods or {}, report, tell)
    for split in spec.splits:
        checker.check_split(split)
        checker.check_pictures(split, images)
    checker.check_vocabulary()
    return report


@dataclass(frozen=True)
class _Checker:
    dataset: Dataset
    methods: Mapping[str, Inputs]
    report: CheckReport
    tell: Tell
    read: set[Path] = field(default_factory=set)  # a file may serve several sidecars; it is looked at once

    def check_split(self, split: str) -> None:
        dataset = self.dataset
        self.report.problems += dataset.missing(Inputs(), [split])
        layout = None
        if dataset.captions_path(split).exists():
            layout = self._attempt(lambda: dataset.layout(split))
        if layout:
            self._check_counts(split, layout)
        if layout and dataset.features_path(split).exists():
            self._attempt(lambda: self._check_features(split, layout))
        for name in dataset.spec.sidecars:
            self._attempt(lambda name=name: self._check_sidecar(name, split, layout))

    def check_pictures(self, split: str, decode: bool) -> None:
        try:
            paths = find_pictures(self.dataset, split)
        except DataError as error:
            self._no_pictures(str(error), wanted=decode)
            return
        self.report.found.append(f"{paths[0].parent}: {len(paths):,} pictures of {split}")
        if decode:
            self.report.problems += broken_pictures(paths, partial(self._tell_of_pictures, split, len(paths)))

    def _tell_of_pictures(self, split: str, total: int, done: int) -> None:
        self.tell(f"pictures of {split}, {done:,} of {total:,}")

    def _no_pictures(self, sentence: str, wanted: bool) -> None:
        """Pictures are optional: they are missed where they are asked for, or where a method reads them."""
        readers = tuple(name for name, inputs in self.methods.items() if inputs.pixels)
        if sentence in self.report.problems:
            return
        if wanted:
            self.report.problems.append(sentence)
        elif readers and all(missing.sentence != sentence for missing in self.report.missing):
            self.report.missing.append(Missing(sentence, readers))

    def check_vocabulary(self) -> None:
        path = self.dataset.vocabulary_path()
        if path is None:
            name = f"{self.dataset.spec.name}_precomp_vocab.json"
            self.report.notes.append(f"no {name}: the BiGRU's vocabulary is built from the training captions.")
            return
        vocabulary = self._attempt(lambda: self.dataset.vocabulary(Words(mask_token=False)))
        if vocabulary is None:
            return
        self.report.found.append(f"{path.name}: {len(vocabulary):,} words")
        for split in self.dataset.spec.splits:
            self._attempt(lambda split=split: self._check_word_ids(split, WordTokenizer(vocabulary)))

    def _attempt(self, check: Callable[[], T]) -> T | None:
        """What check() returns; a DataError becomes a problem of the report."""
        try:
            return check()
        except DataError as error:
            if str(error) not in self.report.problems:
                self.report.problems.append(str(error))
            return None

    def _check_counts(self, split: str, layout: Layout) -> None:
        path, ids = self.dataset.captions_path(split), self.dataset.ids_path(split)
        by = f"image ids from {ids.name}" if ids.exists() else f"no {ids.name}: images by position"
        made = _made_by(path)
        counted = f"{layout.n_texts:,} captions of {layout.n_images:,} images"
        self.report.found.append(f"{path.name}: {counted} ({by}{made})")
        for benchmark in self.dataset.spec.benchmarks if split == "test" else []:
            if benchmark.images not in (None, layout.n_images):
                self.report.problems.append(
                    f"{path} has {layout.n_images:,} images, but benchmark {benchmark.name} expects "
                    f"{benchmark.images:,}; use the official test files, or results will not be comparable."
                )

    def _check_features(self, split: str, layout: Layout) -> None:
        path = self.dataset.features_path(split)
        self.tell(path.name)
        features = open_features(path)
        stored = "" if len(features) == layout.n_images else ", once per caption (old SCAN file)"
        self.report.found.append(f"{path.name}: {_shape(features)}{stored}{_made_by(path)}")
        if features.shape[2] != self.dataset.region_dim:
            self.report.problems.append(
                f"{path} is {features.shape[2]} wide, other splits are {self.dataset.region_dim}; replace one of them."
            )
        image_of_row = np.arange(layout.n_images) if len(features) == layout.n_images else layout.image_of_text
        bad = non_finite_rows(features)
        if len(bad):
            images = ", ".join(layout.image_ids[i] for i in image_of_row[bad[:NAMED]])
            self.report.problems.append(
                f"{path}: {len(bad):,} rows of features are not finite (NaN or inf), first rows {_named(bad)}, "
                f"image ids {images}; extract them again."
            )
        self._check_repeats(features, path, layout)

    def _check_repeats(self, array: np.ndarray, path: Path, layout: Layout) -> None:
        """Where an image's row is stored once per caption, all of them must be equal."""
        if len(array) == layout.n_images:
            return
        differing = differing_rows(array, layout.first_text[layout.image_of_text])
        if len(differing):
            self.report.problems.append(
                f"{path} holds a row per caption, but {len(differing):,} rows differ from that of their image's first "
                f"caption, first rows {_named(differing)}; download it again."
            )

    def _check_sidecar(self, name: str, split: str, layout: Layout | None) -> None:
        dataset = self.dataset
        path = find_sidecar(dataset.spec, name, dataset.folder, split)
        if path is None:
            sentence = missing_sentence(dataset.spec, name, dataset.folder, split)
            self.report.missing.append(Missing(sentence, self._readers(name)))
        elif layout:
            self.tell(path.name)
            sidecar = open_sidecar(dataset.spec, name, dataset.folder, split, layout)
            if path in self.read:
                return
            self.read.add(path)
            check = self._check_pairs if isinstance(sidecar, PairsSidecar) else self._check_array
            check(split, layout, sidecar)

    def _readers(self, sidecar: str) -> tuple[str, ...]:
        kinds = {name: spec.kind for name, spec in self.dataset.spec.sidecars.items()}
        reads = {name: (*inputs.image_sidecars, *inputs.text_sidecars) for name, inputs in self.methods.items()}
        if kinds[sidecar] == "sizes":  # boxes in pixels need the sizes of the pictures
            reads = {
                name: (*read, *(sidecar for other in read if kinds[other] == "boxes")) for name, read in reads.items()
            }
        return tuple(name for name, sidecars in reads.items() if sidecar in sidecars)

    def _check_array(self, split: str, layout: Layout, sidecar: Sidecar) -> None:
        self.report.found.append(f"{sidecar.path.name}: {_shape(sidecar.array)} ({_origin(sidecar)})")
        bad = non_finite_rows(sidecar.array)
        if len(bad):
            self.report.problems.append(
                f"{sidecar.path}: {len(bad):,} rows are not finite (NaN, inf), first rows {_named(bad)}; make it anew."
            )
        if _one_per_image(sidecar.spec):
            self._check_repeats(sidecar.array, sidecar.path, layout)
        if isinstance(sidecar, BoxesSidecar) and not len(bad):
            self._check_boxes(split, sidecar)

    def _check_boxes(self, split: str, sidecar: BoxesSidecar) -> None:
        boxes = sidecar.gather(np.arange(len(sidecar.array)))  # (rows, N, 4)
        inside = ((boxes >= -BOX_SLACK) & (boxes <= 1 + BOX_SLACK)).all(axis=(1, 2))
        ordered = (boxes[..., :2] <= boxes[..., 2:]).all(axis=(1, 2))
        bad = np.flatnonzero(~(inside & ordered))
        if len(bad):
            self.report.problems.append(
                f"{sidecar.path}: {len(bad):,} rows hold boxes outside the picture or whose corners are not x1, y1, "
                f"x2, y2, first rows {_named(bad)}; check that it and the picture sizes are of the same data."
            )
        path = self.dataset.features_path(split)
        if path.exists() and (regions := open_array(path).shape[1]) != boxes.shape[1]:
            self.report.problems.append(
                f"{sidecar.path} holds {boxes.shape[1]} boxes per image, {path.name} {regions} regions; make it anew."
            )

    def _check_pairs(self, split: str, layout: Layout, sidecar: PairsSidecar) -> None:
        self.report.found.append(f"{sidecar.path.name}: {len(sidecar.array):,} pairs ({_origin(sidecar)})")
        texts, heads, dependents = sidecar.view(np.arange(layout.n_texts)).T
        negative = np.unique(texts[(heads < 0) | (dependents < 0)])
        if len(negative):
            self.report.problems.append(
                f"{sidecar.path}: {len(negative):,} captions have negative word indices, first captions "
                f"{_named(negative)}; indices are 1-based words, 0 = <start>: make it anew."
            )
        words = self.dataset.word_counts(split)
        beyond = np.unique(texts[np.maximum(heads, dependents) > words[texts]])
        if len(beyond) == 0:
            return
        sentence = (
            f"{sidecar.path}: {len(beyond):,} captions have dependencies that point beyond their words, "
            f"first captions {_named(beyond)}"
        )
        if len(beyond) > BEYOND * len(words):
            self.report.problems.append(f"{sentence}; it is of other captions or of another tokenizer: make it anew.")
        else:
            self.report.notes.append(f"{sentence}; methods leave those pairs out.")

    def _check_word_ids(self, split: str, tokenizer: WordTokenizer) -> None:
        path = self.dataset.precomputed_path(split)
        if path.exists() and self.dataset.captions_path(split).exists():
            tokenizer.read_precomputed(path, self.dataset.layout(split).n_texts)
            self.report.found.append(f"{path.name}: word ids of the captions")


def _one_per_image(spec: SidecarSpec) -> bool:
    return spec.side == "image" and spec.rows == "image"


def _origin(sidecar: Sidecar) -> str:
    """What a sidecar is, and what made it if that is known."""
    return f"{sidecar.spec.what}{_made_by(sidecar.path)}"


def _made_by(path: Path) -> str:
    """For the end of a line: what made a file, "" where no manifest says it."""
    manifest = read_manifest(path)
    return f", made by prepare: {manifest.label}" if manifest else ""


def _shape(array: np.ndarray) -> str:
    kind = "records" if array.dtype.names else array.dtype.name
    return f"{' x '.join(f'{n:,}' for n in array.shape)} {kind}"


def _named(rows: np.ndarray) -> str:
    return ", ".join(str(row) for row in rows[:NAMED])
