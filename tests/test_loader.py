import gc
import threading
import time
from itertools import chain

import numpy as np
import pytest
import torch
from trees import write_f30k

from datasets.augment import Augmentation
from datasets.batch import Inputs, Words
from datasets.errors import DataError
from datasets.loader import epoch_batches, gallery_batches, prefetched, steps_per_epoch
from datasets.precomp import open_dataset


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_f30k(root, images=13)  # 65 captions
    return open_dataset("f30k", root).split("train", Inputs(text=Words(), image_sidecars=("boxes",)))


def texts(batches):
    return [batch.texts.ids.tolist() for batch in batches]


def flat(lists):
    return list(chain.from_iterable(lists))


def same(first, second):
    return (
        torch.equal(first.texts.words, second.texts.words)
        and torch.equal(first.images.regions, second.images.regions)
        and torch.equal(first.images.sidecars["boxes"], second.images.sidecars["boxes"])
        and torch.equal(first.texts.ids, second.texts.ids)
    )


def test_an_epoch_holds_every_caption_once(split):
    batches = texts(epoch_batches(split, batch_size=16, seed=0, epoch=0, drop_last=False))
    assert [len(batch) for batch in batches] == [16, 16, 16, 16, 1]
    assert sorted(flat(batches)) == list(range(65))
    assert flat(batches) != list(range(65))
    dropped = texts(epoch_batches(split, batch_size=16, seed=0, epoch=0))
    assert dropped == batches[:4]


def test_the_order_depends_on_seed_and_epoch(split):
    orders = {
        (seed, epoch): tuple(flat(texts(epoch_batches(split, batch_size=13, seed=seed, epoch=epoch))))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(set(orders.values())) == 4
    assert orders[1, 1] == tuple(flat(texts(epoch_batches(split, batch_size=5, seed=1, epoch=1))))


def test_a_resumed_epoch_goes_on_exactly(split):
    arguments = {
        "batch_size": 8,
        "seed": 3,
        "epoch": 2,
        "augmentation": Augmentation(),
        "sort_by_length": True,
    }
    whole = list(epoch_batches(split, **arguments))
    for start in (1, 5, 8):
        rest = list(epoch_batches(split, **arguments, start=start, prefetch=0))
        assert len(rest) == len(whole) - start
        assert all(same(a, b) for a, b in zip(whole[start:], rest, strict=True))
    assert not same(*(next(iter(epoch_batches(split, **{**arguments, "seed": seed}))) for seed in (3, 4)))


def test_augmentation_differs_between_batches_and_epochs(split):
    order = np.zeros(65, np.int64)  # the same caption everywhere: only the draws differ
    batches = [
        batch
        for epoch in (0, 1)
        for batch in epoch_batches(
            split, batch_size=16, seed=0, epoch=epoch, order=order, augmentation=Augmentation(0.5, 0.5)
        )
    ]
    words = {tuple(batch.texts.words.flatten().tolist()) for batch in batches}
    assert len(words) == len(batches) == 8


def test_a_given_order_is_followed(split):
    order = torch.arange(64, -1, -1)
    batches = texts(epoch_batches(split, batch_size=10, seed=0, epoch=0, order=order, drop_last=False))
    assert flat(batches) == order.tolist()


def test_processes_share_the_batches_of_one(split):
    alone = texts(epoch_batches(split, batch_size=5, seed=1, epoch=0))
    for process in range(3):
        own = texts(epoch_batches(split, batch_size=5, seed=1, epoch=0, process=process, processes=3))
        assert own == alone[process:12:3]
    resumed = texts(epoch_batches(split, batch_size=5, seed=1, epoch=0, process=1, processes=3, start=2))
    assert resumed == alone[7:12:3]


def test_a_batch_is_augmented_alike_in_any_process(split):
    arguments = {"batch_size": 8, "seed": 0, "epoch": 0, "augmentation": Augmentation(0.5, 0.5)}
    alone = list(epoch_batches(split, **arguments))
    for process in range(2):
        own = list(epoch_batches(split, **arguments, process=process, processes=2))
        assert all(same(a, b) for a, b in zip(own, alone[process::2], strict=True))


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("processes", [1, 2, 3, 4])
@pytest.mark.parametrize("batch_size", [4, 16, 64, 65])
def test_all_processes_take_the_promised_number_of_steps(split, batch_size, processes, drop_last):
    steps = steps_per_epoch(split, batch_size, drop_last, processes)
    if steps == 0:
        return
    shares = [
        texts(
            epoch_batches(
                split,
                batch_size=batch_size,
                seed=0,
                epoch=0,
                drop_last=drop_last,
                process=process,
                processes=processes,
            )
        )
        for process in range(processes)
    ]
    assert [len(share) for share in shares] == [steps] * processes
    seen = [text for share in shares for batch in share for text in batch]
    assert len(set(seen)) == len(seen)
    assert all(batch for share in shares for batch in share)
    left = 65 - len(seen)
    assert left < (batch_size * processes if drop_last else processes)


def test_too_few_captions_for_a_batch_are_an_error_at_once(split):
    with pytest.raises(DataError, match=r"65 captions are too few for one batch of 132; .*train\.batch_size"):
        epoch_batches(split, batch_size=66, seed=0, epoch=0, processes=2)


def test_galleries_come_in_order(split):
    images = list(gallery_batches(split, "images", 5))
    assert torch.cat([batch.ids for batch in images]).tolist() == list(range(13))
    assert [len(batch) for batch in images] == [5, 5, 3]
    captions = list(gallery_batches(split, "texts", 30))
    assert torch.cat([batch.ids for batch in captions]).tolist() == list(range(65))
    assert torch.equal(torch.cat([batch.image_ids for batch in captions]), split.image_of_text)


def workers():
    return [thread for thread in threading.enumerate() if thread.name == "batches"]


def test_the_thread_ends_when_the_consumer_stops_early(split):
    batches = epoch_batches(split, batch_size=2, seed=0, epoch=0)
    next(batches)
    assert workers()
    batches.close()
    assert not workers()
    batches = epoch_batches(split, batch_size=2, seed=0, epoch=0)
    next(batches)
    del batches
    gc.collect()
    assert not workers()


def test_errors_of_the_thread_reach_the_consumer(split):
    def make(number):
        if number == 2:
            raise DataError("broken row")
        return split.images([number])

    batches = prefetched(make, range(5), pin=False, ahead=2)
    assert next(batches).ids.tolist() == [0]
    assert next(batches).ids.tolist() == [1]
    with pytest.raises(DataError, match="broken row"):
        next(batches)
    assert not workers()


def test_batches_are_prepared_ahead_but_not_further_than_asked(split):
    made = []

    def make(number):
        made.append(number)
        return split.images([0])

    batches = prefetched(make, range(50), pin=False, ahead=3)
    next(batches)
    deadline = time.monotonic() + 5
    while len(made) < 5 and time.monotonic() < deadline:  # one taken, three waiting, one in hand
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 5
    batches.close()
