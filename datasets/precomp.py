"""Data sets in the SCAN layout: region features, captions, ids and sidecars of a split, read as far as asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from itm_harness.datasets.augment import Augmentation, augment_words, keep_regions
from itm_harness.datasets.batch import Batch, CLIPTokens, ImageBatch, Inputs, TextBatch, WordPieces, Words
from itm_harness.datasets.draws import Draws, Stream
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.arrays import Packed, open_array, require_float
from itm_harness.datasets.files.contents import array_hash, lines_hash
from itm_harness.datasets.pictures.folder import find_pictures
from itm_harness.datasets.pictures.pixels import CUTS, PixelReader
from itm_harness.datasets.regions import HeldRegions, MappedRegions
from itm_harness.datasets.sidecars import (
    PairsSidecar,
    Sidecar,
    find_sidecar,
    missing_sentence,
    open_sidecar,
    sidecar_missing,
)
from itm_harness.datasets.spec import DatasetSpec, find_spec
from itm_harness.datasets.text.captions import Layout, read_layout
from itm_harness.datasets.text.tokens import (
    CLIPTokenizer,
    SplitWords,
    Tokenizer,
    Tokens,
    Vocabulary,
    WordPieceTokenizer,
    WordTokenizer,
    read_vocabulary,
)

SPLITS = ("train", "dev", "test")
MAX_REGIONS, MAX_NUMBERS = 10_000, 1 << 24  # of an image; a batch holds hundreds of images
Indices = Tensor | np.ndarray | Sequence[int]


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
        raise DataError(self._missing_features(next(iter(self.spec.splits))))

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
        vocabulary = read_vocabulary(path) if path else self._split_words("train").vocabulary(words.min_count)
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

    def split(self, name: str, inputs: Inputs, vocabulary: Vocabulary | None = None, limit: int | None = None) -> Split:
        """Open what `inputs` asks for of a split. vocabulary: the run's own; None = the data set's.

        limit: only the first so many images. Raises DataError where something is missing or does not fit.
        """
        self._check_sides(inputs)
        layout, n_images = self.layout(name), self._n_images(name, limit)
        features = None
        if inputs.regions:
            if not self.features_path(name).exists():
                raise DataError(self._missing_features(name))
            features = self._features(name)
        texts = np.flatnonzero(layout.image_of_text < n_images)  # captions in use, in file order
        tokenizer, tokens = self._tokens(name, texts, inputs.text, vocabulary)
        sidecars = {
            sidecar: open_sidecar(self.spec, sidecar, self.folder, name, layout)
            for sidecar in (*inputs.image_sidecars, *inputs.text_sidecars)
        }
        pictures = PixelReader(self.pictures(name, limit), inputs.pixels) if inputs.pixels else None
        return Split(self, name, layout, n_images, texts, features, tokenizer, tokens, sidecars, pictures)

    def pictures(self, split: str, limit: int | None = None) -> list[Path]:
        """The picture files of the images that are used of a split. Raises DataError where one is missing."""
        return find_pictures(self, split)[: self._n_images(split, limit)]

    def _n_images(self, split: str, limit: int | None) -> int:
        """How many images are used of a split."""
        cap = self.spec.dev_images if split == "dev" else None
        return min(n for n in (self.layout(split).n_images, cap, limit) if n is not None)

    def word_counts(self, split: str) -> np.ndarray:
        """(n_texts,) words of each caption without `<start>` and `<end>`, of the ready-made ids where there are any."""
        layout, path = self.layout(split), self.precomputed_path(split)
        if path.exists():
            tokens = WordTokenizer(self.vocabulary(Words())).read_precomputed(path, layout.n_texts)
            return tokens.lengths - 2
        return np.diff(self._split_words(split).offsets)

    def missing(self, inputs: Inputs, splits: Sequence[str] = SPLITS) -> list[str]:
        """One sentence per file that `inputs` needs and that is not there: which, what it is, how to get it."""
        sentences = []
        for split in splits:
            if inputs.regions and not self.features_path(split).exists():
                sentences.append(self._missing_features(split))
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

    def _features(self, split: str) -> np.ndarray:
        path = self.features_path(split)
        features = open_features(path)
        if features.shape[2] != self.region_dim:
            raise DataError(
                f"{path} holds features of {features.shape[2]} numbers, other splits of {self.region_dim}; "
                f"the files are not of one data set: download them again."
            )
        return features

    def _tokens(
        self, split: str, texts: np.ndarray, text: Words | WordPieces | CLIPTokens | None, vocabulary: Vocabulary | None
    ) -> tuple[Tokenizer | None, Tokens | None]:
        """The tokenizer that `text` asks for, and the ids of the captions `texts`."""
        if text is None:
            return None, None
        layout = self.layout(split)
        if isinstance(text, WordPieces | CLIPTokens):
            pieces = (WordPieceTokenizer if isinstance(text, WordPieces) else CLIPTokenizer)(text.model)
            return pieces, pieces.encode([layout.captions[i] for i in texts])
        words = WordTokenizer(vocabulary or self.vocabulary(text))
        path = self.precomputed_path(split)
        if text.precomputed and path.exists():
            return words, words.read_precomputed(path, layout.n_texts).take(texts)
        return words, self._split_words(split).tokens(words.vocabulary).take(texts)

    def _split_words(self, split: str) -> SplitWords:
        if split not in self._words:
            self._words[split] = SplitWords.of(self.layout(split).captions)
        return self._words[split]

    def _check_sides(self, inputs: Inputs) -> None:
        for side, names in (("image", inputs.image_sidecars), ("text", inputs.text_sidecars)):
            for name in names:
                if self.spec.sidecar(name).side != side:
                    raise DataError(
                        f"data set {self.spec.name}: sidecar {name} describes each {self.spec.sidecar(name).side}, "
                        f"but is asked for as {side} input; correct the method's inputs()."
                    )

    def _missing_features(self, split: str) -> str:
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


class Split:
    """A split of a data set: its images and captions by position, as batches of tensors.

    n_images, n_texts: how many there are (after dev_images and --limit). image_of_text: (n_texts,) int64, position of
    each caption's image. first_text_of_image: (n_images,) int64. captions, image_ids: as in the files.
    """

    def __init__(
        self,
        dataset: Dataset,
        name: str,
        layout: Layout,
        n_images: int,
        texts: np.ndarray,
        features: np.ndarray | None,
        tokenizer: Tokenizer | None,
        tokens: Tokens | None,
        sidecars: dict[str, Sidecar],
        pictures: PixelReader | None = None,
    ) -> None:
        self.dataset, self.name, self.n_images, self.n_texts = dataset, name, n_images, len(texts)
        self.captions = [layout.captions[i] for i in texts]
        self.image_ids = layout.image_ids[:n_images]
        self.image_of_text = torch.from_numpy(layout.image_of_text[texts])
        self.first_text_of_image = torch.from_numpy(np.searchsorted(texts, layout.first_text[:n_images]))
        self.features, self.tokenizer, self.sidecars, self.pictures = features, tokenizer, sidecars, pictures
        self._texts, self._tokens = texts, tokens
        self.regions: MappedRegions | HeldRegions | None = None
        if features is not None:
            self._feature_rows = layout.image_rows(len(features))
            self.regions = MappedRegions(features, self._feature_rows, self._non_finite)

    @property
    def text_lengths(self) -> Tensor:
        """(n_texts,) int64: ids of each caption, special ones included."""
        return torch.from_numpy(self._tokens.lengths)

    def round_regions(self, dtype: torch.dtype) -> None:
        """From now on, region features are rounded to this shorter type, wherever they lie."""
        self.regions = replace(self.regions, rounding=dtype)

    def hold_regions(self, device: torch.device) -> None:
        """Read all region features into memory of `device`; batches are gathered there."""
        self.regions = HeldRegions.of(self.regions, self.n_images, device)

    def images(self, indices: Indices) -> ImageBatch:
        """The images at these positions, with all their regions."""
        images = np.asarray(indices, np.int64)
        return self._image_batch(images, {name: s.rows[images] for name, s in self._sided("image")}, None)

    def texts(self, indices: Indices) -> TextBatch:
        """The captions at these positions."""
        texts = np.asarray(indices, np.int64)
        return self._text_batch(texts, None if self._tokens is None else self._tokens.take(texts))

    def pairs(
        self,
        text_indices: Indices,
        augmentation: Augmentation | None = None,
        draws: Draws | None = None,
        sort_by_length: bool = False,
        own: slice = slice(None),
    ) -> Batch:
        """Captions with their images, for training.

        augmentation: drop regions and touch words, as `draws` says; pictures are cut and mirrored as the method asks
        for. sort_by_length: longest caption first, stable, by the augmented length. own: the rows of the whole batch
        that are wanted, padded as the whole batch is: several processes share a batch, and padding enters batch
        statistics.
        """
        texts = np.asarray(text_indices, np.int64)
        tokens = None if self._tokens is None else self._tokens.take(texts)
        packed = None
        if augmentation is not None:
            tokens, packed = self._augmented(tokens, texts, augmentation, draws)
        rows = np.arange(len(texts))
        if sort_by_length and tokens is not None:
            rows = np.argsort(-tokens.lengths, kind="stable")
        rows = rows[own]
        width = None if tokens is None else tokens.lengths.max()
        texts, tokens = texts[rows], None if tokens is None else tokens.take(rows)
        packed = None if packed is None else packed.take(rows)
        image_rows = {name: s.pair_rows[self._texts[texts]] for name, s in self._sided("image")}
        cuts = self._cuts(texts, draws) if self.pictures and draws else None
        images = self._image_batch(self.image_of_text.numpy()[texts], image_rows, packed, cuts)
        return Batch(images, self._text_batch(texts, tokens, width))

    def sidecar(self, name: str) -> np.ndarray:
        """A sidecar of the whole split as on disk, memory-mapped: a row per image or caption, as it is declared.

        Pairs come as (P, 3) rows: text, head, dependent.
        """
        if name not in self.sidecars:
            raise DataError(f"sidecar {name} of {self.dataset.spec.name} was not asked for in the method's inputs().")
        sidecar = self.sidecars[name]
        per_caption = sidecar.spec.rows == "caption"
        return sidecar.view(sidecar.pair_rows[self._texts] if per_caption else sidecar.rows[: self.n_images])

    def fingerprint(self) -> str:
        """A hash that tells this data from other data: the hashes of all its contents."""
        sizes = f"{self.dataset.spec.name} {self.name} {self.n_images} {self.n_texts}"
        return lines_hash([sizes, *(f"{name} {value}" for name, value in self.contents.items())])[:16]

    @cached_property
    def contents(self) -> dict[str, str]:
        """What was read -> hash of its content; of files over 1 GB the hash of sampled blocks."""
        return self.hashes()

    def hashes(self, whole: bool = False) -> dict[str, str]:
        """What was read -> hash of its content. whole: also of large files, which else are sampled; takes minutes."""
        found = {"captions": lines_hash(self.captions), "image ids": lines_hash(self.image_ids)}
        if self._tokens is not None:  # the same captions have other ids with another vocabulary or tokenizer
            found["tokens"] = lines_hash([array_hash(self._tokens.ids), array_hash(self._tokens.offsets)])
        if self.features is not None:
            found["features"] = array_hash(self.features, whole)
        if self.pictures is not None:
            found["pictures"] = self.pictures.content_hash(whole)
        return found | {name: sidecar.content_hash(whole) for name, sidecar in sorted(self.sidecars.items())}

    def _sided(self, side: str) -> list[tuple[str, Sidecar]]:
        return [(name, s) for name, s in self.sidecars.items() if s.spec.side == side]

    def _augmented(
        self, tokens: Tokens | None, texts: np.ndarray, augmentation: Augmentation, draws: Draws | None
    ) -> tuple[Tokens | None, Packed | None]:
        if draws is None:
            raise ValueError("augmentation needs draws")
        if tokens is not None and augmentation.words > 0:
            if any(isinstance(s, PairsSidecar) for s in self.sidecars.values()):
                raise DataError(
                    "word augmentation would shift the words that dependencies point to; set augment.words=0."
                )
            mask_id, size = self.tokenizer.mask_id, self.tokenizer.size
            tokens = augment_words(tokens, draws, texts, augmentation.words, mask_id, size)
        if self.features is None or augmentation.regions == 0:
            return tokens, None
        kept = keep_regions(draws, torch.from_numpy(texts), self.features.shape[1], augmentation.regions)
        return tokens, Packed.of(kept.numpy())

    def _cuts(self, texts: np.ndarray, draws: Draws) -> np.ndarray:
        """(B, CUTS): how the picture beside each caption is cut and mirrored."""
        return draws.uniform(Stream.PICTURES, torch.from_numpy(texts)[:, None], torch.arange(CUTS)).numpy()

    def _image_batch(
        self,
        images: np.ndarray,
        rows: dict[str, np.ndarray],
        packed: Packed | None,
        cuts: np.ndarray | None = None,
    ) -> ImageBatch:
        sidecars = {name: self.sidecars[name].gather(row, packed) for name, row in rows.items()}
        ids = torch.from_numpy(images)
        pixels = self.pictures.read(images, cuts) if self.pictures else None
        if self.features is None:
            return ImageBatch(ids, sidecars=sidecars, pixels=pixels)
        regions, lengths = self.regions.gather(images, packed)
        return ImageBatch(ids, regions, lengths, sidecars, pixels)

    def _text_batch(self, texts: np.ndarray, tokens: Tokens | None, width: int | None = None) -> TextBatch:
        sidecars = {name: s.gather(s.pair_rows[self._texts[texts]]) for name, s in self._sided("text")}
        ids, image_ids = torch.from_numpy(texts), self.image_of_text[texts]
        if tokens is None:
            return TextBatch(ids, image_ids, sidecars=sidecars)
        return TextBatch(
            ids, image_ids, torch.from_numpy(tokens.padded(width)), torch.from_numpy(tokens.lengths), sidecars
        )

    def _non_finite(self, image: int) -> str:
        return (
            f"{self.dataset.features_path(self.name)}, row {self._feature_rows[image]}: the features of image "
            f"{self.image_ids[image]} are not finite (NaN or inf); extract them again; `python harness.py data "
            f"check --dataset {self.dataset.spec.name}` lists all such images."
        )
