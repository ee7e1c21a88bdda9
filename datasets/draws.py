"""Random numbers of the augmentation: each depends on seed, epoch, caption and element alone.

A number is a hash of its place (splitmix64's mixing, Steele et al., OOPSLA 2014), not the next one of a sequence: it is
the same in every process, whatever batch its caption is in, and on every device.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from torch import Tensor

# The published constants as signed numbers of the same 64 bits: torch multiplies int64 modulo 2⁶⁴.
GOLDEN, FIRST, SECOND = (bits - (1 << 64) for bits in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


class Stream(IntEnum):
    """What a number is drawn for: two purposes never share their numbers."""

    REGIONS = 0
    WORDS = 1
    REPLACEMENTS = 2
    PICTURES = 3


@dataclass(frozen=True)
class Draws:
    """All random numbers of an epoch of training. Nothing is drawn in advance: this is only their name."""

    seed: int
    epoch: int

    def uniform(self, stream: Stream, captions: Tensor, elements: Tensor) -> Tensor:
        """A number in [0, 1) for each (caption, element), float32, on their device.

        captions, elements: int64 that broadcast: positions of captions in the split, and of what is drawn for in them.
        """
        return _logical_shift(self._bits(stream, captions, elements), 40).float() / 2**24

    def integers(self, stream: Stream, captions: Tensor, elements: Tensor, below: int) -> Tensor:
        """A whole number in 0 … below − 1 for each (caption, element), int64. Arguments as of `uniform`."""
        return _logical_shift(self._bits(stream, captions, elements), 1) % below

    def _bits(self, stream: Stream, captions: Tensor, elements: Tensor) -> Tensor:
        """64 random bits for each (caption, element)."""
        (key,) = np.random.SeedSequence([stream, self.seed, self.epoch]).generate_state(1, np.uint64).view(np.int64)
        return _mixed(_mixed(captions * GOLDEN + int(key)) + elements * GOLDEN)


def _mixed(bits: Tensor) -> Tensor:
    """splitmix64's finalizer: every bit of the result depends on every bit of the argument."""
    bits = (bits ^ _logical_shift(bits, 30)) * FIRST
    bits = (bits ^ _logical_shift(bits, 27)) * SECOND
    return bits ^ _logical_shift(bits, 31)


def _logical_shift(bits: Tensor, places: int) -> Tensor:
    """To the right, filled with zeros: torch's own shift copies the sign."""
    return (bits >> places) & ((1 << (64 - places)) - 1)
