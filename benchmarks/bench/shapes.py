"""Sizes of the data sets that `bench` imitates, and how long real captions are."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

LENGTHS = Path(__file__).with_name(
    "caption_lengths.csv"
)  # words of Flickr8k's 30,000 training captions, as NLTK splits


@dataclass(frozen=True)
class Shape:
    """A data set: captions of its training split, images of dev, and images of its whole test gallery."""

    train_texts: int
    dev_images: int
    test_images: int
    regions: int = 36
    region_dim: int = 2048
    captions_each: int = 5


SHAPES = {"f30k": Shape(145_000, 1000, 1000), "coco": Shape(566_435, 1000, 5000)}
VOCABULARY, WORD_PIECES = 8_500, 30_522  # of SCAN's words of Flickr30K, of BERT-base
CLIP_WIDTH, SENTENCE_WIDTH, ENTITIES = 512, 1024, 16


def draw_lengths(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) int64 ids of captions, drawn from real lengths, with the two special ones of every tokenizer."""
    with LENGTHS.open(encoding="utf-8", newline="") as file:
        rows = [(int(row["words"]), int(row["captions"])) for row in csv.DictReader(file)]
    words, captions = np.array(rows).T
    return rng.choice(words, size=count, p=captions / captions.sum()) + 2
