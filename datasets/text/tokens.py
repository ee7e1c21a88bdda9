"""Captions -> ids: SCAN-style vocabularies with NLTK's words, and BERT word pieces; kept flat for whole splits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.cache import Arrays, cached
from itm_harness.datasets.files.contents import lines_hash
from itm_harness.datasets.files.json_file import read_json
from itm_harness.datasets.text.captions import read_lines

PAD, START, END, UNKNOWN = "<pad>", "<start>", "<end>", "<unk>"
SPECIAL = (PAD, START, END, UNKNOWN)  # ids 0, 1, 2, 3
MASK = "<mask>"
UNTOUCHED = -1  # group of tokens that size augmentation leaves alone
WORTH_CACHING = 10_000  # captions; fewer are tokenised in less than a second
CHUNK = 10_000  # captions that the word-piece tokenizer takes at a time
BERT_POSITIONS = 512  # longer captions are cut

# Captions in which NLTK only splits at spaces and before a final period, except for these contractions, which it also
# finds between hyphens.
PLAIN = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?: (?:,|[a-z0-9]+(?:-[a-z0-9]+)*))*(?: ?\.)?")
CONTRACTED = frozenset({"cannot", "gimme", "gonna", "gotta", "lemme", "wanna"})


@dataclass(frozen=True)
class Tokens:
    """Captions of a split as ids, one behind the other.

    ids: (sum of lengths,) int32. offsets: (n + 1,) int64. groups: (sum of lengths,) int32, the position in its caption
    of the word that a token is a piece of, which size augmentation touches as a whole; UNTOUCHED for [CLS] and [SEP].
    """

    ids: np.ndarray
    offsets: np.ndarray
    groups: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64."""
        return np.diff(self.offsets)

    def take(self, rows: np.ndarray) -> Tokens:
        """The captions `rows`, in that order."""
        source, offsets = ragged_positions(self.offsets, rows)
        return Tokens(self.ids[source], offsets, self.groups[source])

    def padded(self, width: int | None = None) -> np.ndarray:
        """(n, width) int64, zero behind each length. width: None = that of the longest."""
        lengths = self.lengths
        words = np.zeros((len(lengths), lengths.max(initial=0) if width is None else width), np.int64)
        words[np.arange(words.shape[1]) < lengths[:, None]] = self.ids
        return words


def ragged_positions(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the values of ragged `rows` lie in the flat array, (sum of lengths,), and the offsets of the result."""
    lengths = offsets[rows + 1] - offsets[rows]
    result = np.concatenate([[0], np.cumsum(lengths)])
    return np.repeat(offsets[rows] - result[:-1], lengths) + np.arange(result[-1]), result


class Vocabulary:
    """Words and their ids: `<pad>` 0, `<start>` 1, `<end>` 2, `<unk>` 3, then words; a `<mask>`, if any, is last."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._ids = {word: i for i, word in enumerate(self.words)}
        if self.words[: len(SPECIAL)] != SPECIAL or len(self._ids) != len(self.words):
            raise DataError(f"a vocabulary begins with {', '.join(SPECIAL)} and holds no word twice; build it anew.")

    def __len__(self) -> int:
        return len(self.words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.words == other.words

    def __hash__(self) -> int:
        return hash(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def __getitem__(self, word: str) -> int:
        """The word's id, that of `<unk>` where it is not known."""
        return self._ids.get(word, self._ids[UNKNOWN])

    @property
    def mask_id(self) -> int | None:
        """The id of `<mask>`, None where there is none."""
        return self._ids.get(MASK)

    def with_mask(self) -> Vocabulary:
        """The same vocabulary with `<mask>` appended, if it is not there yet."""
        return self if MASK in self else Vocabulary([*self.words, MASK])

    def to_json(self) -> list[str]:
        """The words in the order of their ids."""
        return list(self.words)

    @classmethod
    def from_json(cls, words: list[str]) -> Vocabulary:
        """The inverse of to_json."""
        return cls(words)


def read_vocabulary(path: Path) -> Vocabulary:
    """SCAN's JSON: word2idx, idx2word, idx. Raises DataError where it is no such file."""
    content = read_json(path)
    try:
        word_ids: dict[str, int] = content["word2idx"]
        by_id = sorted(word_ids.items(), key=lambda item: item[1])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is no SCAN vocabulary (JSON with word2idx); download it again, or remove it to build one."
        ) from error
    if [i for _, i in by_id] != list(range(len(by_id))):
        raise DataError(f"{path}: the ids of word2idx are not 0 to {len(by_id) - 1}; remove it to build a vocabulary.")
    try:
        return Vocabulary([word for word, _ in by_id])
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


@dataclass(frozen=True)
class SplitWords:
    """The words of a split before they have ids. types: distinct words by first appearance; codes: into types."""

    types: list[str]
    codes: np.ndarray  # (sum of lengths,) int32
    offsets: np.ndarray  # (n + 1,) int64

    @classmethod
    def of(cls, captions: Sequence[str]) -> SplitWords:
        """Split captions into words; where they are many, the cache keeps the result."""
        if len(captions) < WORTH_CACHING:
            return cls.split(captions)
        sources = [_code(), metadata.version("nltk").encode(), lines_hash(captions).encode()]
        found = cached("words", sources, lambda: cls.split(captions)._arrays())
        return cls(found["types"].tobytes().decode().split("\n"), found["codes"], found["offsets"])

    def _arrays(self) -> Arrays:
        types = np.frombuffer("\n".join(self.types).encode(), np.uint8)  # no word holds a line end
        return {"types": types, "codes": self.codes, "offsets": self.offsets}

    @classmethod
    def split(cls, captions: Sequence[str]) -> SplitWords:
        """Split captions into words."""
        numbers: dict[str, int] = {}
        codes: list[int] = []
        lengths = np.zeros(len(captions) + 1, np.int64)
        for i, caption in enumerate(captions):
            words = split_words(caption)
            codes += [numbers.setdefault(word, len(numbers)) for word in words]
            lengths[i + 1] = len(words)
        return cls(list(numbers), np.array(codes, np.int32), np.cumsum(lengths))

    def vocabulary(self, min_count: int) -> Vocabulary:
        """The words that occur at least min_count times, by first appearance."""
        counts = np.bincount(self.codes, minlength=len(self.types))
        kept = [word for word, count in zip(self.types, counts, strict=True) if count >= min_count]
        return Vocabulary([*SPECIAL, *(word for word in kept if word not in SPECIAL)])

    def tokens(self, vocabulary: Vocabulary) -> Tokens:
        """`<start>` + word ids + `<end>` of every caption."""
        ids = np.array([vocabulary[word] for word in self.types], np.int32)[self.codes]
        return enclosed(ids, self.offsets, vocabulary)


def split_words(caption: str) -> list[str]:
    """NLTK's word_tokenize of the lower-cased caption, taken as one sentence."""
    caption = caption.lower()
    if PLAIN.fullmatch(caption):  # nine captions of ten, fifty times faster
        words = caption.removesuffix(".").split()
        if CONTRACTED.isdisjoint(part for word in words for part in word.split("-")):
            return [*words, "."] if caption.endswith(".") else words
    from nltk.tokenize import word_tokenize  # slow to import

    return word_tokenize(caption, preserve_line=True)


def enclosed(ids: np.ndarray, offsets: np.ndarray, vocabulary: Vocabulary) -> Tokens:
    """Put `<start>` and `<end>` around flat captions; each token is a word of its own."""
    n = len(offsets) - 1
    result = np.empty(len(ids) + 2 * n, np.int32)
    ends = offsets + 2 * np.arange(n + 1)
    result[ends[:-1]], result[ends[1:] - 1] = vocabulary[START], vocabulary[END]
    inner = np.ones(len(result), bool)
    inner[ends[:-1]] = inner[ends[1:] - 1] = False
    result[inner] = ids
    return Tokens(result, ends, _own_groups(ends))


def _own_groups(offsets: np.ndarray) -> np.ndarray:
    return (np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))).astype(np.int32)


class WordTokenizer:
    """SCAN-style word ids."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.vocabulary)

    @property
    def mask_id(self) -> int:
        """The id of `<mask>`. Raises DataError where the vocabulary has none."""
        if self.vocabulary.mask_id is None:
            raise DataError(
                "word augmentation needs a '<mask>' in the vocabulary, which has none; "
                "set text.mask_token=true, or switch it off with augment.words=0."
            )
        return self.vocabulary.mask_id

    def encode(self, captions: Sequence[str]) -> Tokens:
        """`<start>` + word ids + `<end>` of every caption."""
        return SplitWords.of(captions).tokens(self.vocabulary)

    def read_precomputed(self, path: Path, n_texts: int) -> Tokens:
        """GSMN's `{split}_precaps_stan.txt`: ids of a caption per line, with commas.

        `<start>` and `<end>` are added where the lines do not hold them. Raises DataError on lines that do not fit.
        """
        lines = read_lines(path)
        if len(lines) != n_texts:
            raise DataError(f"{path} holds {len(lines):,} lines for {n_texts:,} captions; download it again.")
        rows = [self._parsed(line, f"{path}, line {i}") for i, line in enumerate(lines, 1)]
        ids = np.concatenate(rows)
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        if (ids[offsets[:-1]] == self.vocabulary[START]).all():
            return Tokens(ids, offsets, _own_groups(offsets))
        return enclosed(ids, offsets, self.vocabulary)

    def _parsed(self, line: str, where: str) -> np.ndarray:
        try:
            ids = np.array(line.split(","), np.int32)
        except ValueError as error:
            raise DataError(f"{where}: '{line[:40]}' is no list of word ids with commas; download it again.") from error
        if ids.min() < 0 or ids.max() >= len(self.vocabulary):
            raise DataError(
                f"{where}: an id lies outside the vocabulary of {len(self.vocabulary):,} words; "
                f"put the vocabulary file that the ids were made with beside the data."
            )
        return ids


class WordPieceTokenizer:
    """BERT word pieces through transformers' fast tokenizer. model: a local folder or a name in the hub cache."""

    def __init__(self, model: str) -> None:
        self.model = model

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizer = _load_tokenizer(self.model)
        if not tokenizer.is_fast or tokenizer.mask_token_id is None or tokenizer.pad_token_id != 0:
            raise DataError(
                f"tokenizer of '{self.model}' is not of BERT's kind (fast, with [MASK], [PAD] = 0); "
                f"set text.bert to a BERT's folder."
            )
        return tokenizer

    @cached_property
    def _backend(self) -> Any:
        backend = self._tokenizer.backend_tokenizer
        backend.no_padding()
        backend.enable_truncation(BERT_POSITIONS)
        backend.encode_special_tokens = True  # "[MASK]" in a caption is split like any word, as the released loaders do
        return backend

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self._tokenizer)

    @property
    def mask_id(self) -> int:
        """The id of [MASK]."""
        return self._tokenizer.mask_token_id

    def encode(self, captions: Sequence[str]) -> Tokens:
        """[CLS] + word pieces + [SEP] of every caption; a group is a basic token.

        Where captions are many, the cache keeps the result.
        """
        if len(captions) < WORTH_CACHING:
            return self._encode(captions)
        sources = [_code(), self._backend.to_str().encode(), lines_hash(captions).encode()]
        return Tokens(**cached("tokens", sources, lambda: vars(self._encode(captions))))

    def _encode(self, captions: Sequence[str]) -> Tokens:
        parts = [self._encoded(captions[i : i + CHUNK]) for i in range(0, len(captions), CHUNK)]
        ids, groups, lengths = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Tokens(ids, np.concatenate([[0], np.cumsum(lengths)]), groups)

    def _encoded(self, captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        encodings = self._backend.encode_batch(list(captions))
        ids = np.concatenate([np.array(e.ids, np.int32) for e in encodings])
        groups = np.array([UNTOUCHED if g is None else g for e in encodings for g in e.word_ids], np.int32)
        return ids, groups, np.array([len(e) for e in encodings], np.int64)


class CLIPTokenizer:
    """The byte pairs of CLIP's own tokenizer, through open_clip. model: its name there, or path/to/config.json."""

    def __init__(self, model: str) -> None:
        self.model = model

    @cached_property
    def _tokenizer(self) -> Any:
        open_clip = _import_open_clip()
        path = Path(self.model)
        if path.suffix == ".json":
            open_clip.add_model_config(path)
        try:
            tokenizer = open_clip.get_tokenizer(path.stem if path.suffix == ".json" else self.model)
        except OSError:  # in a hub that is out of reach
            tokenizer = None
        if not isinstance(tokenizer, open_clip.SimpleTokenizer):
            raise DataError(f"{self.model} has no tokenizer of CLIP's own kind; choose a model that has, as ViT-B-32.")
        return tokenizer

    @property
    def size(self) -> int:
        """Number of ids."""
        return self._tokenizer.vocab_size

    @property
    def mask_id(self) -> int:
        """Raises DataError: there is none."""
        raise DataError("CLIP's tokens hold no mask, so words cannot be augmented; set augment.words=0.")

    def encode(self, captions: Sequence[str]) -> Tokens:
        """Start + byte pairs + end of every caption, cut to the model's context; each token is a group of its own."""
        ids = self._tokenizer(list(captions)).numpy().astype(np.int32)  # (n, context), zero behind the end
        lengths = ids.shape[1] - (ids[:, ::-1] != 0).argmax(axis=1)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return Tokens(ids[np.arange(ids.shape[1]) < lengths[:, None]], offsets, _own_groups(offsets))


Tokenizer = WordTokenizer | WordPieceTokenizer | CLIPTokenizer


def _import_open_clip() -> Any:
    try:
        import open_clip  # heavy: only where CLIP computes
    except ImportError as error:
        raise DataError(
            f"CLIP's tokenizer is open_clip's, which cannot be imported ({error}); pip install -e '.[clip]'."
        ) from error
    return open_clip


def _code() -> bytes:
    """This file: what it makes of captions may change with it."""
    return Path(__file__).read_bytes()


def _load_tokenizer(model: str) -> Any:
    from transformers import AutoTokenizer  # heavy: only where BERT is used

    try:
        return AutoTokenizer.from_pretrained(model, local_files_only=True)  # the cache first: no waiting for a network
    except (OSError, ValueError):
        pass
    try:
        return AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise DataError(
            f"tokenizer of '{model}' cannot be loaded from a folder or the hub; download bert-base-uncased "
            f"(tokenizer.json or vocab.txt and config.json beside the weights) and set text.bert=FOLDER."
        ) from error
