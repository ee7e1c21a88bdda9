import gc
import threading
import time
from itertools import chain

import numpy as np
import pytest
import torch

from itm_harness.datasets.augment import Augmentation
from itm_harness.datasets.batch import Inputs, Words
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.loader import epoch_batches, gallery_batches, prefetched, steps_per_epoch
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import open_split
from itm_tests.trees import write_f30k


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_f30k(root, images=13)  # 65 captions
    return open_split(open_dataset("f30k", root), "train", Inputs(text=Words(), image_sidecars=("boxes",)))


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


def test_augmentation_differs_between_captions_and_epochs_not_between_batches(split):
    def words(order, epoch):
        batches = epoch_batches(
            split, batch_size=20, seed=0, epoch=epoch, order=order, augmentation=Augmentation(0.5, 0.5)
        )
        pairs = [pair for batch in batches for pair in zip(batch.texts.ids, batch.texts.words, strict=True)]
        return {int(i): row[row > 0].tolist() for i, row in pairs}

    first, mixed, other = words(np.arange(60), 0), words(np.arange(59, -1, -1), 0), words(np.arange(60), 1)
    assert first == mixed
    assert sum(first[i] != other[i] for i in first) > 40


def test_a_given_order_is_followed(split):
    order = torch.arange(64, -1, -1)
    batches = texts(epoch_batches(split, batch_size=10, seed=0, epoch=0, order=order, drop_last=False))
    assert flat(batches) == order.tolist()


@pytest.mark.parametrize("sort_by_length", [True, False])
def test_processes_share_every_batch_in_order(split, sort_by_length):
    arguments = {
        "batch_size": 12,
        "seed": 1,
        "epoch": 0,
        "augmentation": Augmentation(0.5, 0.5),
        "sort_by_length": sort_by_length,
        "drop_last": False,
    }
    alone = list(epoch_batches(split, **arguments))
    shares = [list(epoch_batches(split, **arguments, process=p, processes=3)) for p in range(3)]
    assert [len(parts[0].texts) for parts in zip(*shares, strict=True)] == [4, 4, 4, 4, 4, 1]
    for whole, parts in zip(alone, zip(*shares, strict=True), strict=True):
        assert torch.equal(whole.texts.ids, torch.cat([part.texts.ids for part in parts]))
        assert torch.equal(whole.texts.words, torch.cat([part.texts.words for part in parts]))
        assert torch.equal(whole.images.regions, torch.cat([part.images.regions for part in parts]))
    resumed = list(epoch_batches(split, **arguments, process=1, processes=3, start=2))
    assert all(same(a, b) for a, b in zip(resumed, shares[1][2:], strict=True))


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
    assert left < (batch_size if drop_last else processes)


def test_too_few_captions_for_a_batch_are_an_error_at_once(split):
    with pytest.raises(DataError, match=r"65 captions are too few for one batch of 66; .*train\.batch_size"):
        epoch_batches(split, batch_size=66, seed=0, epoch=0)


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
