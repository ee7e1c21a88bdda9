"""A batch of pairs read one caption after the other and padded at the end, as released data loaders do it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from itm_harness.datasets.augment import Augmentation
from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.datasets.draws import Draws
from itm_harness.datasets.split import Split


def reference_batch(
    split: Split, texts: np.ndarray, augmentation: Augmentation | None, draws: Draws, sort_by_length: bool = False
) -> Batch:
    """The same batch as `Split.pairs`, from pairs that are read singly."""
    pairs = [split.pairs([text], augmentation, draws) for text in texts.tolist()]
    if sort_by_length and pairs[0].texts.lengths is not None:
        pairs.sort(key=lambda pair: -int(pair.texts.lengths))  # stable
    images = ImageBatch(
        ids=torch.cat([pair.images.ids for pair in pairs]),
        regions=_padded([pair.images.regions for pair in pairs]),
        lengths=_joined([pair.images.lengths for pair in pairs]),
        sidecars={name: torch.cat([pair.images.sidecars[name] for pair in pairs]) for name in pairs[0].images.sidecars},
    )
    captions = TextBatch(
        ids=torch.cat([pair.texts.ids for pair in pairs]),
        image_ids=torch.cat([pair.texts.image_ids for pair in pairs]),
        words=_padded([pair.texts.words for pair in pairs]),
        lengths=_joined([pair.texts.lengths for pair in pairs]),
        sidecars={name: torch.cat([pair.texts.sidecars[name] for pair in pairs]) for name in pairs[0].texts.sidecars},
    )
    return Batch(images, captions)


def _padded(items: list[Tensor | None]) -> Tensor | None:
    """(1, N, ...) each, of different N -> (B, longest, ...), zero behind."""
    return None if items[0] is None else pad_sequence([item[0] for item in items], batch_first=True)


def _joined(items: list[Tensor | None]) -> Tensor | None:
    return None if items[0] is None else torch.cat(items)
