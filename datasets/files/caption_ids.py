"""COCO's own id of every caption of a split, for measures that are defined on those ids (ECCV Caption, CxC)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.precomp import Dataset
from itm_harness.datasets.text.captions import read_lines


def caption_ids_path(dataset: Dataset, split: str) -> Path:
    """The file of a split's caption ids, which may not exist: a line per caption, in the order of the captions."""
    return dataset.folder / f"{dataset.spec.file_split(split)}_caption_ids.txt"


def read_caption_ids(path: Path, n_texts: int) -> np.ndarray:
    """(n_texts,) int64 ids. Raises DataError where lines are missing, are no numbers or are there twice."""
    lines = read_lines(path)
    if len(lines) != n_texts:
        raise DataError(f"{path} holds {len(lines):,} ids, but there are {n_texts:,} captions; write one id a line.")
    wrong = next((i for i, line in enumerate(lines) if not line.isdecimal() or len(line) > 18), None)
    if wrong is not None:
        raise DataError(f"{path}, line {wrong + 1}: '{lines[wrong]}' is no caption id; write COCO's annotation id.")
    ids = np.array(lines, np.int64)
    distinct, counts = np.unique(ids, return_counts=True)
    if len(distinct) < n_texts:
        raise DataError(f"{path} holds id {distinct[counts > 1][0]} more than once; every caption has its own.")
    return ids
