"""A split of a data set: its images and captions by position, as batches of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from itm_harness.datasets.augment import Augmentation, augment_words, keep_regions
from itm_harness.datasets.batch import Batch, CLIPTokens, ImageBatch, Inputs, TextBatch, WordPieces, Words
from itm_harness.datasets.draws import Draws, Stream
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.arrays import Packed
from itm_harness.datasets.files.contents import array_hash, lines_hash
from itm_harness.datasets.pictures.pixels import CUTS, PixelReader
from itm_harness.datasets.precomp import Dataset, open_features
from itm_harness.datasets.regions import HeldRegions, MappedRegions
from itm_harness.datasets.sidecars import (
    PairsSidecar,
    Sidecar,
    open_sidecar,
)
from itm_harness.datasets.text.captions import Layout
from itm_harness.datasets.text.tokens import (
    CLIPTokenizer,
    Tokenizer,
    Tokens,
    Vocabulary,
    WordPieceTokenizer,
    WordTokenizer,
)

Indices = Tensor | np.ndarray | Sequence[int]


def open_split(
    dataset: Dataset, name: str, inputs: Inputs, vocabulary: Vocabulary | None = None, limit: int | None = None
) -> Split:
    """Open what `inputs` asks for of a split of a data set. vocabulary: the run's own; None = the data set's.

    limit: only the first so many images. Raises DataError where something is missing or does not fit.
    """
    _require_sides(dataset, inputs)
    layout, n_images = dataset.layout(name), dataset.n_images(name, limit)
    features = _features(dataset, name) if inputs.regions else None
    texts = np.flatnonzero(layout.image_of_text < n_images)  # captions in use, in file order
    tokenizer, tokens = _tokens(dataset, name, texts, inputs.text, vocabulary)
    sidecars = {
        sidecar: open_sidecar(dataset.spec, sidecar, dataset.folder, name, layout)
        for sidecar in (*inputs.image_sidecars, *inputs.text_sidecars)
    }
    pictures = PixelReader(dataset.pictures(name, limit), inputs.pixels) if inputs.pixels else None
    return Split(dataset, name, layout, n_images, texts, features, tokenizer, tokens, sidecars, pictures)


def _require_sides(dataset: Dataset, inputs: Inputs) -> None:
    for side, names in (("image", inputs.image_sidecars), ("text", inputs.text_sidecars)):
        for name in names:
            if dataset.spec.sidecar(name).side != side:
                raise DataError(
                    f"data set {dataset.spec.name}: sidecar {name} describes each {dataset.spec.sidecar(name).side}, "
                    f"but is asked for as {side} input; correct the method's inputs()."
                )


def _features(dataset: Dataset, split: str) -> np.ndarray:
    path = dataset.features_path(split)
    if not path.exists():
        raise DataError(dataset.missing_features(split))
    features = open_features(path)
    if features.shape[2] != dataset.region_dim:
        raise DataError(
            f"{path} holds features of {features.shape[2]} numbers, other splits of {dataset.region_dim}; "
            f"the files are not of one data set: download them again."
        )
    return features


def _tokens(
    dataset: Dataset,
    split: str,
    texts: np.ndarray,
    text: Words | WordPieces | CLIPTokens | None,
    vocabulary: Vocabulary | None,
) -> tuple[Tokenizer | None, Tokens | None]:
    """The tokenizer that `text` asks for, and the ids of the captions `texts`."""
    if text is None:
        return None, None
    layout = dataset.layout(split)
    if isinstance(text, WordPieces | CLIPTokens):
        pieces = (WordPieceTokenizer if isinstance(text, WordPieces) else CLIPTokenizer)(text.model)
        return pieces, pieces.encode([layout.captions[i] for i in texts])
    words = WordTokenizer(vocabulary or dataset.vocabulary(text))
    path = dataset.precomputed_path(split)
    if text.precomputed and path.exists():
        return words, words.read_precomputed(path, layout.n_texts).take(texts)
    return words, dataset.words_of(split).tokens(words.vocabulary).take(texts)


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
        sidecars = {name: torch.from_numpy(self.sidecars[name].gather(row, packed)) for name, row in rows.items()}
        ids = torch.from_numpy(images)
        pixels = self.pictures.read(images, cuts) if self.pictures else None
        if self.features is None:
            return ImageBatch(ids, sidecars=sidecars, pixels=pixels)
        regions, lengths = self.regions.gather(images, packed)
        return ImageBatch(ids, regions, lengths, sidecars, pixels)

    def _text_batch(self, texts: np.ndarray, tokens: Tokens | None, width: int | None = None) -> TextBatch:
        sidecars = {
            name: torch.from_numpy(s.gather(s.pair_rows[self._texts[texts]])) for name, s in self._sided("text")
        }
        ids, image_ids = torch.from_numpy(texts), self.image_of_text[texts]
        if tokens is None:
            return TextBatch(ids, image_ids, sidecars=sidecars)
        return TextBatch(
            ids, image_ids, torch.from_numpy(tokens.padded(width)), torch.from_numpy(tokens.lengths), sidecars
        )

    def _non_finite(self, image: int) -> str:
        return (
            f"{self.dataset.features_path(self.name)}, row {self._feature_rows[image]}: the features of image "
            f"{self.image_ids[image]} are not finite (NaN or inf); extract them again; `itm data "
            f"check --dataset {self.dataset.spec.name}` lists all such images."
        )
