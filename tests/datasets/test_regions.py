"""Region features held in memory give the batches that the mapped file gives, number for number."""

import dataclasses

import numpy as np
import pytest
import torch

from itm_harness.datasets.augment import Augmentation
from itm_harness.datasets.batch import Inputs, Words
from itm_harness.datasets.draws import Draws
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.regions import HeldRegions
from itm_harness.datasets.split import open_split
from itm_tests.trees import write_f30k

CPU = torch.device("cpu")
BOTH = Inputs(text=Words(1), image_sidecars=("boxes",))


@pytest.fixture(params=[np.float32, np.float16])
def splits(request, tmp_path):
    """The same training split twice, in a file of float32 or float16."""
    folder = write_f30k(tmp_path)
    path = folder / "train_ims.npy"
    np.save(path, np.load(path).astype(request.param))
    return [open_split(open_dataset("f30k", tmp_path), "train", BOTH) for _ in range(2)]


def tensors(batch):
    found = []
    for side in (batch.images, batch.texts):
        for field in dataclasses.fields(side):
            value = getattr(side, field.name)
            found += list(value.values()) if isinstance(value, dict) else [value] if value is not None else []
    return found


@pytest.mark.parametrize("augmentation", [None, Augmentation(0.4, 0.3)])
@pytest.mark.parametrize("rounding", [None, torch.bfloat16])
def test_held_features_give_the_batches_of_the_mapped_file(splits, augmentation, rounding):
    mapped, held = splits
    if rounding:
        mapped.round_regions(rounding)
        held.round_regions(rounding)
    held.hold_regions(CPU)
    assert isinstance(held.regions, HeldRegions)
    texts = np.random.default_rng(0).permutation(mapped.n_texts)[:17]
    for sort in (False, True):
        first, second = (split.pairs(texts, augmentation, Draws(3, 1), sort) for split in splits)
        assert first.images.regions.dtype == torch.float32
        assert all(map(torch.equal, tensors(first), tensors(second)))
    assert torch.equal(mapped.images([5, 0, 5]).regions, held.images([5, 0, 5]).regions)
    assert torch.equal(mapped.images([1]).lengths, held.images([1]).lengths)


def test_half_precision_is_held_in_half_the_memory(splits):
    split, _ = splits
    wanted = split.images([2]).regions
    split.round_regions(torch.bfloat16)
    split.hold_regions(CPU)
    assert split.regions.values.dtype == torch.bfloat16
    assert torch.equal(split.images([2]).regions, wanted.bfloat16().float())


def test_what_is_stored_once_per_caption_is_held_once_per_image(tmp_path):
    folder = write_f30k(tmp_path)
    path = folder / "train_ims.npy"
    features = np.load(path)
    np.save(path, features.repeat(5, axis=0))
    split = open_split(open_dataset("f30k", tmp_path), "train", BOTH)
    split.hold_regions(CPU)
    assert split.regions.values.shape == features.shape
    assert np.array_equal(split.images([3]).regions[0], features[3])


def test_an_image_that_is_not_finite_is_named_while_it_is_loaded(splits):
    split, _ = splits
    path = split.dataset.features_path("train")
    features = np.load(path)
    features[7, 0, 0] = np.nan
    np.save(path, features)
    split = open_split(open_dataset("f30k", split.dataset.root), "train", BOTH)
    with pytest.raises(DataError, match=r"row 7: .*not finite"):
        split.hold_regions(CPU)
