"""Sentence vectors without a download: hashed word and character n-grams, tf-idf, a fixed random projection.

The interface of every sentence encoder is here too; datasets/text/sentence_models.py has the one with a real model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Protocol
from zlib import crc32

import numpy as np

from itm_harness.datasets.text.tokens import ragged_positions

BUCKETS = 1 << 20  # n-grams are told apart by their hash
CHARACTERS = (3, 4, 5)  # lengths of character n-grams, cut from "<word>"
BIGRAM_WEIGHT = 0.25  # pairs of neighbouring words are rare, and would outweigh the words themselves
SIGNS = 16  # numbers of a vector that an n-gram adds to
CHUNK = 1024  # texts encoded at a time
VERSION = 1  # another one for every change that gives other vectors
WORD = re.compile(r"[^\W_]+")


class SentenceEncoder(Protocol):
    """Texts -> vectors.

    name: as records show it. pooling: how a model's word vectors become one, "" where there are none. weights: which
    ones, "" where the name says it. revision: of the model in its hub, "" where it is not known. fitted: are its
    vectors comparable only with those of the same `state`?
    """

    name: str
    pooling: str
    weights: str
    revision: str
    fitted: bool

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        ...

    @property
    def state(self) -> str:
        """Fingerprint of all that the vectors depend on beside the text."""
        ...

    @property
    def libraries(self) -> dict[str, str]:
        """Versions of the libraries that compute, where they matter."""
        ...

    def fit(self, texts: Sequence[str]) -> None:
        """Learn what there is to learn from the texts of the training split."""
        ...

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, width) float32. A vector depends on its own text alone."""
        ...

    def for_entities(self) -> SentenceEncoder:
        """The same encoder as entity texts want it."""
        ...


class EmbeddedEncoder:
    """l2norm of the sum of a text's n-grams: each its idf times a sparse random direction.

    Words and pairs of neighbours; and the character n-grams of a word, which together weigh as much as the word, so
    that "running" lies near "runs". Directions follow from the hash alone (sparse sign projection: D. Achlioptas,
    "Database-friendly random projections", JCSS 2003). The same texts give the same bits in every process.
    """

    name = "embedded"
    pooling = weights = revision = ""
    fitted = True
    libraries: dict[str, str] = {}  # noqa: RUF012 - none matters

    def __init__(self, width: int = 512) -> None:
        self.width = width
        self._texts = 0
        self._idf = np.zeros(0)

    def fit(self, texts: Sequence[str]) -> None:
        """Count in how many texts each n-gram occurs; its idf is ln((2 + n) / (1 + count)), positive always."""
        counts = np.zeros(BUCKETS, np.int64)
        for chunk in _chunks(texts):
            terms = _Terms(chunk)
            positions, offsets = ragged_positions(terms.offsets, terms.codes)  # of the n-grams of each term of a text
            lengths = np.diff(offsets)
            key = np.repeat(terms.text_of_code, lengths) * BUCKETS + terms.buckets[positions]
            key.sort()
            distinct = key[np.flatnonzero(np.diff(key, prepend=-1))]  # np.unique is several times slower
            counts += np.bincount(distinct % BUCKETS, minlength=BUCKETS)
        self._texts = len(texts)
        self._idf = np.log((2 + self._texts) / (1 + counts))
        self._counts = counts

    @property
    def state(self) -> str:
        """Fingerprint of the fitted counts and of the constants."""
        self._require_fit()
        constants = (VERSION, self.width, BUCKETS, CHARACTERS, BIGRAM_WEIGHT, SIGNS, self._texts)
        return hashlib.sha256(repr(constants).encode() + self._counts.astype("<i8").tobytes()).hexdigest()[:16]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, width) float32 of length 1; zeros for a text without a letter or digit."""
        self._require_fit()
        parts = [self._encoded(chunk) for chunk in _chunks(texts)]
        return np.concatenate(parts) if parts else np.zeros((0, self.width), np.float32)

    def for_entities(self) -> EmbeddedEncoder:
        """Itself."""
        return self

    def _encoded(self, texts: Sequence[str]) -> np.ndarray:
        terms = _Terms(texts)
        of_term = self._term_vectors(terms)
        vectors = np.zeros((len(texts), self.width))
        lengths = np.bincount(terms.text_of_code, minlength=len(texts))
        starts = np.cumsum(lengths) - lengths
        for position in range(lengths.max(initial=0)):  # the sum in the order of the text, whatever else is encoded
            longer = np.flatnonzero(lengths > position)
            vectors[longer] += of_term[terms.codes[starts[longer] + position]]
        norms = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
        return (vectors / np.maximum(norms, 1e-12)).astype(np.float32)

    def _term_vectors(self, terms: _Terms) -> np.ndarray:
        """(terms, width) float64: the weighted sum of the directions of each term's n-grams."""
        n_terms = len(terms.offsets) - 1
        positions, signs = directions(terms.buckets, self.width)  # (n-grams, SIGNS)
        weights = (terms.weights * self._idf[terms.buckets])[:, None] * signs
        flat = np.repeat(np.arange(n_terms), np.diff(terms.offsets))[:, None] * self.width + positions
        return np.bincount(flat.ravel(), weights.ravel(), n_terms * self.width).reshape(n_terms, self.width)

    def _require_fit(self) -> None:
        if not len(self._idf):
            raise ValueError("fit the encoder on the training texts first")


def directions(buckets: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Where in a vector each n-gram adds, (n, SIGNS) int64, and with which sign, (n, SIGNS) ±1."""
    numbers = _mixed(buckets.astype(np.uint64)[:, None] * np.uint64(SIGNS) + np.arange(SIGNS, dtype=np.uint64))
    positions = (numbers >> np.uint64(1)) % np.uint64(width)
    return positions.astype(np.int64), 1.0 - 2.0 * (numbers & np.uint64(1))


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64 (G. L. Steele et al., OOPSLA 2014): uint64 -> uint64 that look random, on every machine the same."""
    numbers = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


class _Terms:
    """The terms (words, pairs of neighbours) of some texts, and the n-grams that stand for each distinct term.

    codes: (all terms of all texts,) numbers of distinct terms; text_of_code: (the same,) whose they are, ascending.
    buckets, weights: (n-grams,) one behind the other for the distinct terms; offsets: (terms + 1,) where each begins.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        numbers: dict[str, int] = {}
        codes: list[int] = []
        lengths = []
        for text in texts:
            words = WORD.findall(text.lower())
            terms = [*words, *(f"{one} {two}" for one, two in pairwise(words))]
            codes += [numbers.setdefault(term, len(numbers)) for term in terms]
            lengths.append(len(terms))
        self.codes = np.array(codes, np.int64)
        self.text_of_code = np.repeat(np.arange(len(texts)), lengths)
        grams = [_grams(term) for term in numbers]
        self.offsets = np.concatenate([[0], np.cumsum([len(g) for g in grams], dtype=np.int64)])
        flat = np.array([pair for g in grams for pair in g]).reshape(-1, 2)  # buckets are exact in float64
        self.buckets, self.weights = flat[:, 0].astype(np.int64), flat[:, 1]


def _grams(term: str) -> list[tuple[int, float]]:
    """(bucket, weight) of the n-grams of a word, or of a pair of words."""
    return [(_bucket(f"pair {term}"), BIGRAM_WEIGHT)] if " " in term else _word_grams(term)


@lru_cache(maxsize=100_000)
def _word_grams(term: str) -> list[tuple[int, float]]:
    marked = f"<{term}>"
    parts = [marked[i : i + n] for n in CHARACTERS for i in range(len(marked) - n + 1)]
    return [(_bucket(f"word {term}"), 1.0), *((_bucket(f"part {part}"), len(parts) ** -0.5) for part in parts)]


def _bucket(gram: str) -> int:
    return crc32(gram.encode()) % BUCKETS


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(texts), CHUNK):
        yield texts[start : start + CHUNK]
