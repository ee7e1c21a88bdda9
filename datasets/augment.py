"""Size augmentation (VSE∞, section 3.3): regions are dropped, words masked, replaced or removed. Vectorised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datasets.text import UNTOUCHED, Tokens

MASKED, REPLACED = 0.5, 0.6  # of the touched words: 50 % masked, 10 % replaced, 40 % removed


@dataclass(frozen=True)
class Augmentation:
    """The probability with which a region, or a word, is touched."""

    regions: float = 0.2
    words: float = 0.2


def keep_regions(rng: np.random.Generator, images: int, regions: int, probability: float) -> np.ndarray:
    """(images, regions) bool: each region is dropped with `probability`; where all would go, one is kept."""
    draws = rng.random((images, regions))
    kept = draws >= probability
    kept[np.arange(images), draws.argmax(axis=1)] = True
    return kept


def augment_words(tokens: Tokens, rng: np.random.Generator, probability: float, mask_id: int, size: int) -> Tokens:
    """Touch each word (group of tokens) with `probability`; never leaves an empty caption.

    All pieces of a touched word share its fate: 50 % become mask_id, 10 % each a random id below size, 40 % go.
    """
    caption = np.repeat(np.arange(len(tokens.offsets) - 1), tokens.lengths)  # (sum of lengths,)
    draws = rng.random((len(tokens.offsets) - 1, int(tokens.groups.max(initial=0)) + 1))
    draws = draws[caption, tokens.groups] / probability if probability > 0 else np.full(len(caption), np.inf)
    draws[tokens.groups == UNTOUCHED] = np.inf
    ids = np.where(draws < MASKED, mask_id, tokens.ids)
    replaced = (draws >= MASKED) & (draws < REPLACED)
    ids[replaced] = rng.integers(size, size=int(replaced.sum()))
    kept = (draws < REPLACED) | (draws >= 1)
    _keep_one(kept, draws, tokens.offsets)
    lengths = np.bincount(caption[kept], minlength=len(tokens.offsets) - 1)
    return Tokens(ids[kept].astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]), tokens.groups[kept])


def _keep_one(kept: np.ndarray, draws: np.ndarray, offsets: np.ndarray) -> None:
    """Where a caption would be empty, keep the token with the largest draw."""
    starts = offsets[:-1]
    empty = np.flatnonzero(~np.logical_or.reduceat(kept, starts))
    for caption in empty:  # one in ten million
        kept[starts[caption] + draws[starts[caption] : offsets[caption + 1]].argmax()] = True
