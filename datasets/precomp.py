"""Data sets in the SCAN layout: region features, captions, ids and sidecars of a split, read as far as asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from itm_harness.datasets.batch import Inputs, Words
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.arrays import open_array, require_float
from itm_harness.datasets.pictures.folder import find_pictures
from itm_harness.datasets.sidecars import (
    find_sidecar,
    missing_sentence,
    sidecar_missing,
)
from itm_harness.datasets.spec import DatasetSpec, find_spec
from itm_harness.datasets.text.captions import Layout, read_layout
from itm_harness.datasets.text.tokens import (
    SplitWords,
    Vocabulary,
    WordTokenizer,
    read_vocabulary,
)

SPLITS = ("train", "dev", "test")
MAX_REGIONS, MAX_NUMBERS = 10_000, 1 << 24  # of an image; a batch holds hundreds of images


def open_dataset(name_or_yaml: str, data_root: Path | None = None) -> Dataset:
    """Find a data set on disk; nothing but its description and folder is looked at.

    data_root: the folder that holds <name>/precomp or <name>_precomp; None = $ITM_DATA, else ./data. demo is made on
    first use. Raises DataError where there is no such data set or folder.
    """
    spec = find_spec(name_or_yaml)
    root = root_folder(data_root)
    if spec.generated and not (root / spec.name / "precomp").is_dir():
        from itm_harness.datasets.demo.make import ensure_demo  # draws pictures: only where demo is used

        root = ensure_demo()
    return Dataset(spec, _find_folder(spec, root), root)


def root_folder(data_root: Path | None) -> Path:
    """The data root: as given, else $ITM_DATA, else ./data."""
    return Path(data_root or os.environ.get("ITM_DATA") or "data").expanduser()


def _find_folder(spec: DatasetSpec, root: Path) -> Path:
    places = [root / spec.name / "precomp", root / f"{spec.name}_precomp"]
    if spec.folder:
        places = [root / spec.folder]  # an absolute folder stays as it is
    for place in places:
        if place.is_dir():
            return place
    looked = " nor ".join(str(place) for place in places)
    raise DataError(
        f"data set {spec.name}: there is no {looked}; "
        f"{spec.where or 'put its files there'}, or name the folder above it with --data-root."
    )


class Dataset:
    """A data set on disk. folder: where its files are; root: the data root, where vocabularies may lie."""

    def __init__(self, spec: DatasetSpec, folder: Path, root: Path) -> None:
        self.spec, self.folder, self.root = spec, folder, root
        self._layouts: dict[str, Layout] = {}
        self._words: dict[str, SplitWords] = {}

    @cached_property
    def region_dim(self) -> int:
        """Width of a region feature, from the header of the first split's features."""
        for split in self.spec.splits:
            if self.features_path(split).exists():
                return open_features(self.features_path(split)).shape[2]
        raise DataError(self.missing_features(next(iter(self.spec.splits))))

    def features_path(self, split: str) -> Path:
        """The file of a split's region features."""
        return self.folder / f"{self.spec.file_split(split)}_ims.npy"

    def captions_path(self, split: str) -> Path:
        """The file of a split's captions."""
        return self.folder / f"{self.spec.file_split(split)}_caps.txt"

    def ids_path(self, split: str) -> Path:
        """The file of a split's image ids, which may not exist."""
        return self.folder / f"{self.spec.file_split(split)}_ids.txt"

    def precomputed_path(self, split: str) -> Path:
        """The file of a split's ready-made word ids, which may not exist."""
        return self.folder / f"{self.spec.file_split(split)}_precaps_stan.txt"

    def vocabulary_path(self) -> Path | None:
        """SCAN's vocabulary file, None where there is none."""
        name = f"{self.spec.name}_precomp_vocab.json"
        places = [self.root / "vocab", self.root / self.spec.name / "vocab", self.folder, self.folder.parent]
        return next((place / name for place in places if (place / name).is_file()), None)

    def vocabulary(self, words: Words) -> Vocabulary:
        """The vocabulary file's words, or else those that the training captions hold at least min_count times."""
        path = self.vocabulary_path()
        vocabulary = read_vocabulary(path) if path else self.words_of("train").vocabulary(words.min_count)
        return vocabulary.with_mask() if words.mask_token else vocabulary

    def layout(self, split: str) -> Layout:
        """Captions and image ids of a split. Raises DataError where they do not fit each other or the features."""
        if split not in self._layouts:
            self._layouts[split] = self._read_layout(split)
        return self._layouts[split]

    def _read_layout(self, split: str) -> Layout:
        if not self.captions_path(split).exists():
            raise DataError(self._missing_captions(split))
        path = self.features_path(split)
        features = open_features(path) if path.exists() else None
        each = self.spec.captions_per_image
        layout = read_layout(
            self.captions_path(split),
            self.ids_path(split),
            None if features is None else len(features),
            features is not None and rows_repeat(features, each),
            each,
        )
        if features is not None and layout.image_rows(len(features)) is None:
            raise DataError(
                f"{path} holds {len(features):,} rows, but {self.captions_path(split).name} has {layout.n_texts:,} "
                f"captions of {layout.n_images:,} images; the files are not of one data set: download them again."
            )
        return layout

    def pictures(self, split: str, limit: int | None = None) -> list[Path]:
        """The picture files of the images that are used of a split. Raises DataError where one is missing."""
        return find_pictures(self, split)[: self.n_images(split, limit)]

    def n_images(self, split: str, limit: int | None = None) -> int:
        """How many images are used of a split."""
        cap = self.spec.dev_images if split == "dev" else None
        return min(n for n in (self.layout(split).n_images, cap, limit) if n is not None)

    def word_counts(self, split: str) -> np.ndarray:
        """(n_texts,) words of each caption without `<start>` and `<end>`, of the ready-made ids where there are any."""
        layout, path = self.layout(split), self.precomputed_path(split)
        if path.exists():
            tokens = WordTokenizer(self.vocabulary(Words())).read_precomputed(path, layout.n_texts)
            return tokens.lengths - 2
        return np.diff(self.words_of(split).offsets)

    def missing(self, inputs: Inputs, splits: Sequence[str] = SPLITS) -> list[str]:
        """One sentence per file that `inputs` needs and that is not there: which, what it is, how to get it."""
        sentences = []
        for split in splits:
            if inputs.regions and not self.features_path(split).exists():
                sentences.append(self.missing_features(split))
            if not self.captions_path(split).exists():
                sentences.append(self._missing_captions(split))
            for name in (*inputs.image_sidecars, *inputs.text_sidecars):
                sentence = sidecar_missing(self.spec, name, self.folder, split)
                sentences += [sentence] if sentence else []
            if inputs.pixels and self.captions_path(split).exists():
                sentences += self._missing_pictures(split)
        return sentences

    def _missing_pictures(self, split: str) -> list[str]:
        try:
            find_pictures(self, split)
        except DataError as error:
            return [str(error)]
        return []

    def size_of(self, sidecar: str) -> int:
        """Width of a sidecar's rows (last axis), from the header of the first file found."""
        for split in self.spec.splits:
            path = find_sidecar(self.spec, sidecar, self.folder, split)
            if path is not None:
                return open_array(path).shape[-1]
        raise DataError(missing_sentence(self.spec, sidecar, self.folder, "train"))

    def words_of(self, split: str) -> SplitWords:
        """The words of a split's captions."""
        if split not in self._words:
            self._words[split] = SplitWords.of(self.layout(split).captions)
        return self._words[split]

    def missing_features(self, split: str) -> str:
        """A sentence about region features that are not there."""
        return f"{self.features_path(split)} is missing: region features of {split}; {self._how()}."

    def _missing_captions(self, split: str) -> str:
        return f"{self.captions_path(split)} is missing: captions of {split}, one a line; {self._how()}."

    def _how(self) -> str:
        return self.spec.where or "put it there, or name another folder with --data-root"


def open_features(path: Path) -> np.ndarray:
    """Region features (rows, N, D), float32 or float16, memory-mapped. Raises DataError on another shape or type."""
    features = open_array(path)
    require_float(features, path, 3, "(images, regions, width)")
    _, regions, width = features.shape
    if not 0 < regions * width <= MAX_NUMBERS or regions > MAX_REGIONS:
        raise DataError(
            f"{path} has shape {features.shape}: {regions:,} regions of {width:,} numbers for an image are none, or "
            f"more than fits in a batch (up to {MAX_REGIONS:,} regions and {MAX_NUMBERS:,} numbers); write it anew."
        )
    return features


def rows_repeat(features: np.ndarray, each: int) -> bool:
    """Do the rows look like runs of `each` equal ones (old SCAN files)? Three runs are compared."""
    runs, rest = divmod(len(features), each)
    if rest or not runs or each == 1:
        return False
    return all(_equal_run(features, run * each, each) for run in {0, runs // 2, runs - 1})


def _equal_run(features: np.ndarray, start: int, each: int) -> bool:
    first = features[start]
    return all(np.array_equal(first, features[start + i], equal_nan=True) for i in range(1, each))
