"""Batches of an epoch, and of a gallery in order; prepared ahead by a background thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Literal, TypeVar

import numpy as np
from torch import Tensor

from itm_harness.datasets.augment import Augmentation
from itm_harness.datasets.batch import Batch, ImageBatch, TensorFields, TextBatch
from itm_harness.datasets.draws import Draws
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.split import Split

ORDER = 1  # key of the random numbers that shuffle
T = TypeVar("T", bound=TensorFields)


def steps_per_epoch(split: Split, batch_size: int, drop_last: bool, processes: int = 1) -> int:
    """Training steps of an epoch, the same for every process.

    Without drop_last the captions that are left over form one more, smaller batch, unless they are fewer than the
    processes that share it.
    """
    steps, left = divmod(split.n_texts, batch_size)
    return steps + (not drop_last and left >= processes)


def epoch_batches(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    start: int = 0,
    drop_last: bool = True,
    sort_by_length: bool = False,
    augmentation: Augmentation | None = None,
    order: np.ndarray | Tensor | None = None,
    process: int = 0,
    processes: int = 1,
    pin: bool = False,
    prefetch: int = 2,
) -> Iterator[Batch]:
    """Batches of pairs for an epoch, from step `start` on.

    The captions are shuffled by (seed, epoch), or taken in `order`. batch_size is that of all processes together;
    process p takes the p-th part of every batch. A caption's augmentation depends on (seed, epoch, caption) alone, so
    that it is the same in any process, and an epoch resumed at `start` goes on exactly. sort_by_length: longest caption
    first within a batch, by the augmented length. prefetch: batches prepared ahead in a thread; 0 = no thread.
    Raises DataError where the split is smaller than a batch, and whatever reading a batch raises.
    """
    steps = steps_per_epoch(split, batch_size, drop_last, processes)
    if steps == 0:
        raise DataError(
            f"{split.dataset.spec.name}, {split.name}: {split.n_texts} captions are too few for one batch of "
            f"{batch_size}; lower it with --set train.batch_size=N."
        )
    if order is None:
        order = np.random.default_rng([ORDER, seed, epoch]).permutation(split.n_texts)
    order = np.asarray(order)

    def make(step: int) -> Batch:
        texts = order[step * batch_size : (step + 1) * batch_size]
        own = share(len(texts), process, processes)
        return split.pairs(texts, augmentation, Draws(seed, epoch), sort_by_length, own)

    return prefetched(make, range(start, steps), pin, prefetch)


def share(rows: int, process: int, processes: int) -> slice:
    """The rows of a batch that belong to one process."""
    return slice(rows * process // processes, rows * (process + 1) // processes)


def gallery_batches(
    split: Split, side: Literal["images", "texts"], batch_size: int, pin: bool = False, prefetch: int = 2
) -> Iterator[ImageBatch | TextBatch]:
    """All images, or all captions, of a split in order."""
    make, count = (split.images, split.n_images) if side == "images" else (split.texts, split.n_texts)

    def batch(start: int) -> ImageBatch | TextBatch:
        return make(np.arange(start, min(start + batch_size, count)))

    return prefetched(batch, range(0, count, batch_size), pin, prefetch)


def prefetched(make: Callable[[int], T], numbers: range, pin: bool, ahead: int) -> Iterator[T]:
    """make(number) for each number, up to `ahead` prepared by a thread.

    The thread ends when the consumer stops early; an error in it is raised in the consumer.
    """
    if ahead == 0:
        for number in numbers:
            yield make(number).pin() if pin else make(number)
        return
    ready: queue.Queue[T | BaseException | None] = queue.Queue(maxsize=ahead)
    stopped = threading.Event()

    def put(item: T | BaseException | None) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def produce() -> None:
        try:
            for number in numbers:
                if stopped.is_set():
                    return
                put(make(number).pin() if pin else make(number))
            put(None)
        except BaseException as error:  # raised again where the batches are used
            put(error)

    thread = threading.Thread(target=produce, name="batches", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
