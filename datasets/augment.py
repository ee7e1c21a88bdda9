"""Size augmentation (VSE∞, section 3.3): regions are dropped, words masked, replaced or removed. Vectorised."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from itm_harness.datasets.draws import Draws, Stream
from itm_harness.datasets.text.tokens import UNTOUCHED, Tokens

MASKED, REPLACED = 0.5, 0.6  # of the touched words: 50 % masked, 10 % replaced, 40 % removed


@dataclass(frozen=True)
class Augmentation:
    """The probability with which a region, or a word, is touched."""

    regions: float = 0.2
    words: float = 0.2


def keep_regions(draws: Draws, captions: Tensor, regions: int, probability: float) -> Tensor:
    """(B, regions) bool: each region is dropped with `probability`; where all would go, one is kept.

    captions: (B,) int64, their positions in the split; the result is on their device.
    """
    numbers = draws.uniform(Stream.REGIONS, captions[:, None], torch.arange(regions, device=captions.device))
    return (numbers >= probability).scatter_(1, numbers.argmax(dim=1, keepdim=True), True)


def augment_words(
    tokens: Tokens, draws: Draws, captions: np.ndarray, probability: float, mask_id: int, size: int
) -> Tokens:
    """Touch each word (group of tokens) with `probability`; never leaves an empty caption.

    captions: (n,) int64, positions of the captions of `tokens` in the split. All pieces of a touched word share its
    fate: 50 % become mask_id, 10 % each a random id below size, 40 % go.
    """
    row = np.repeat(np.arange(len(captions)), tokens.lengths)  # (sum of lengths,)
    caption, place = torch.from_numpy(captions[row]), torch.from_numpy(np.arange(len(row)) - tokens.offsets[row])
    fate = draws.uniform(Stream.WORDS, caption, torch.from_numpy(tokens.groups).long()).numpy()
    fate = fate / probability if probability > 0 else np.full(len(row), np.inf)
    fate[tokens.groups == UNTOUCHED] = np.inf
    ids = np.where(fate < MASKED, mask_id, tokens.ids)
    replaced = (fate >= MASKED) & (fate < REPLACED)
    ids[replaced] = draws.integers(Stream.REPLACEMENTS, caption, place, size).numpy()[replaced]
    kept = (fate < REPLACED) | (fate >= 1)
    _keep_one(kept, fate, tokens.offsets)
    lengths = np.bincount(row[kept], minlength=len(captions))
    return Tokens(ids[kept].astype(np.int32), np.concatenate([[0], np.cumsum(lengths)]), tokens.groups[kept])


def _keep_one(kept: np.ndarray, fate: np.ndarray, offsets: np.ndarray) -> None:
    """Where a caption would be empty, keep the token with the largest number."""
    starts = offsets[:-1]
    empty = np.flatnonzero(~np.logical_or.reduceat(kept, starts))
    for caption in empty:  # one in ten million
        kept[starts[caption] + fate[starts[caption] : offsets[caption + 1]].argmax()] = True
