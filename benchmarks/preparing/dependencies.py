"""prepare --what dependencies: dependency pairs of the captions, by spaCy or stanza, as GSMN reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from itm_harness.benchmarks.preparing.content import PREPARED, Target, encoded_manifest
from itm_harness.benchmarks.preparing.dependency_parsers import DependencyParser, open_parser
from itm_harness.benchmarks.preparing.product import Product
from itm_harness.datasets.files.manifest import Manifest
from itm_harness.datasets.text.tokens import split_words

STEP = 256  # captions


class Dependencies(Product):
    """{split}_dependencies.json in prepared/: per caption its [head, dependent] pairs."""

    name = "dependencies"

    def targets(self) -> list[Target]:
        """One file per split."""
        return [self._of_split(split) for split in self.job.splits]

    @cached_property
    def parser(self) -> DependencyParser:
        """spaCy or stanza with its model. Raises DataError where either is missing."""
        return open_parser(self.job.options.dependency_parser, self.job.models)

    def _of_split(self, split: str) -> Target:
        def content() -> Pairs:
            return Pairs(self.job.dataset.layout(split).captions, self.parser)

        return self.target(split, f"{PREPARED}/{{split}}_dependencies.json", content, check=lambda: self.parser)


@dataclass(frozen=True)
class Pairs:
    """Per caption a JSON list of pairs: words count from 1, in the words that the harness splits captions into."""

    captions: Sequence[str]
    parser: DependencyParser
    step: ClassVar[int] = STEP

    @property
    def manifest(self) -> Manifest:
        """What parsed the captions."""
        return encoded_manifest(self.parser, self.captions, (len(self.captions),), "text")

    def rows(self, start: int, stop: int) -> list[str]:
        """The pairs of some captions."""
        words = [split_words(caption) for caption in self.captions[start:stop]]
        return [json.dumps(pairs(heads), separators=(",", ":")) for heads in self.parser.heads(words)]


def pairs(heads: Sequence[int]) -> list[list[int]]:
    """[head, dependent] of each word, the root's first.

    heads: the position of each word's head from 1, 0 = root. Of several roots (sentences) the first counts; the others
    have no head, and no pair: position 0 is <start>, no word.
    """
    root = list(heads).index(0) + 1
    others = [[head, word] for word, head in enumerate(heads, 1) if head]
    return [[0, root], *others]
