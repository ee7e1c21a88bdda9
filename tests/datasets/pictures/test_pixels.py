"""Pictures as tensors: what is cut, known answers of resizing and mirroring, the same draws for the same caption."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from itm_harness.datasets.augment import Augmentation
from itm_harness.datasets.batch import Inputs, Pixels, Words
from itm_harness.datasets.draws import Draws
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.loader import epoch_batches
from itm_harness.datasets.pictures.pixels import PixelReader, cut, pixels_of
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import open_split
from itm_tests.trees import write_f30k, write_pictures


@pytest.fixture
def picture(tmp_path):
    """A file whose left half is black and right half white, 8 x 4, with a red pixel at the top left."""
    values = np.zeros((4, 8, 3), np.uint8)
    values[:, 4:] = 255
    values[0, 0] = (255, 0, 0)
    Image.fromarray(values).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize(
    ("pixels", "draw", "box"),
    [
        (Pixels(4), None, (0, 0, 100, 60)),
        (Pixels(4, square=True), None, (20, 0, 80, 60)),
        (Pixels(4, crop=0.6), None, (0, 0, 100, 60)),  # tests see all of it
        (Pixels(4, crop=0.6), [0, 0, 0, 0], (0, 0, 60, 36)),
        (Pixels(4, crop=0.6), [0.5, 0.999999, 0.999999, 0], (20, 12, 100, 60)),
        (Pixels(4, crop=0.5, square=True), [0, 0.999999, 0, 0], (70, 0, 100, 30)),
        (Pixels(4), [0.3, 0.9, 0.9, 0], (0, 0, 100, 60)),  # no crop: nowhere to move to
    ],
)
def test_what_of_a_picture_is_shown(pixels, draw, box):
    assert cut(100, 60, pixels, draw) == box


def test_places_and_sizes_of_cuts_are_uniform():
    boxes = np.array([cut(100, 60, Pixels(4, crop=0.6), row) for row in np.random.default_rng(0).random((4000, 4))])
    shares = (boxes[:, 2] - boxes[:, 0]) / 100
    assert boxes.min() >= 0
    assert (boxes[:, 2].max(), boxes[:, 3].max()) == (100, 60)
    assert shares.mean() == pytest.approx(0.8, abs=0.01)
    assert np.abs(shares - (boxes[:, 3] - boxes[:, 1]) / 60).max() < 1 / 30  # one ratio for both sides
    room = 100 - (boxes[:, 2] - boxes[:, 0])
    assert (boxes[:, 0] / room)[room > 10].mean() == pytest.approx(0.5, abs=0.02)


def test_colours_stay_in_their_places_and_mirroring_exchanges_left_and_right(picture):
    values = pixels_of(picture, Pixels(4))  # 8 x 4 squeezed to 4 x 4
    assert values.shape == (4, 4, 3)
    assert (values[2:, 0] == 0).all()
    assert (values[:, 3] == 255).all()
    assert values[0, 0, 0] > values[0, 0, 1] + 50
    plain = pixels_of(picture, Pixels(4, flip=True), [0, 0, 0, 0.5])
    mirrored = pixels_of(picture, Pixels(4, flip=True), [0, 0, 0, 0.49])
    np.testing.assert_array_equal(plain, values)
    np.testing.assert_array_equal(mirrored, values[:, ::-1])
    np.testing.assert_array_equal(pixels_of(picture, Pixels(4, flip=True)), values)  # never in tests


def test_resizing_is_pils(picture):
    expected = Image.open(picture).convert("RGB").crop((2, 0, 6, 4)).resize((3, 3), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(pixels_of(picture, Pixels(3, square=True, bicubic=True)), np.asarray(expected))


def test_a_large_jpeg_looks_the_same_when_it_is_decoded_smaller(tmp_path):
    ramp = np.linspace(0, 255, 640, dtype=np.uint8)
    Image.fromarray(np.stack([np.tile(ramp, (480, 1))] * 3, axis=2)).save(tmp_path / "a.jpg", quality=95)
    whole = np.asarray(Image.open(tmp_path / "a.jpg").resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(pixels_of(tmp_path / "a.jpg", Pixels(32)) - whole).max() <= 3


@pytest.fixture
def split(tmp_path):
    folder = write_f30k(tmp_path, 4)
    write_pictures(folder, "train")  # the splits have the same ids

    def call(name="train", **values):
        pixels = Pixels(8, **{"crop": 0.5, "flip": True, **values})
        return open_split(open_dataset("f30k", tmp_path), name, Inputs(regions=False, pixels=pixels, text=Words()))

    return call


def test_a_gallery_holds_each_picture_once_as_it_is(split):
    test = split("test")
    images = test.images([2, 0])
    assert images.regions is None
    assert (images.pixels.shape, images.pixels.dtype) == ((2, 3, 8, 8), torch.uint8)
    for row, image in enumerate((2, 0)):
        alone = pixels_of(test.pictures.paths[image], Pixels(8))
        torch.testing.assert_close(images.pixels[row].permute(1, 2, 0), torch.from_numpy(alone.copy()))


def test_each_caption_has_its_own_cut_whatever_its_batch(split):
    train, draws = split(), Draws(3, 1)
    together = train.pairs([0, 1, 7], Augmentation(0, 0), draws)
    alone = train.pairs([7], Augmentation(0, 0), draws)
    assert torch.equal(together.images.pixels[2], alone.images.pixels[0])
    assert not torch.equal(together.images.pixels[0], together.images.pixels[1])  # one image, two captions
    assert not torch.equal(train.pairs([7], Augmentation(0, 0), Draws(3, 2)).images.pixels, alone.images.pixels)
    assert torch.equal(train.pairs([7]).images.pixels, train.images([1]).pixels)  # no draws: as in tests


def test_pictures_follow_their_captions_when_a_batch_is_sorted(split):
    train, draws = split(), Draws(0, 0)
    batch = train.pairs([0, 5, 10, 15], Augmentation(0, 0.2), draws, sort_by_length=True)
    for row, text in enumerate(batch.texts.ids.tolist()):
        own = train.pairs([text], Augmentation(0, 0.2), draws)
        assert torch.equal(batch.images.pixels[row], own.images.pixels[0])


def test_an_epoch_that_is_resumed_shows_the_same_pictures(split):
    train = split()
    batches = [
        list(epoch_batches(train, batch_size=4, seed=1, epoch=2, start=start, augmentation=Augmentation(0, 0)))
        for start in (0, 3)
    ]
    for resumed, first in zip(batches[1], batches[0][3:], strict=True):
        assert torch.equal(resumed.images.pixels, first.images.pixels)


def test_the_hash_follows_names_and_contents(split, tmp_path):
    before = split().hashes()["pictures"]
    assert split().hashes()["pictures"] == before
    path = sorted((tmp_path / "f30k" / "images").glob("train_*"))[2]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"x")
    assert split().hashes()["pictures"] != before
    path.write_bytes(content)
    assert split().hashes()["pictures"] == before


def test_a_hash_of_many_bytes_is_sampled_and_says_so(split, monkeypatch):
    monkeypatch.setattr("itm_harness.datasets.pictures.pixels.SAMPLED_FROM", 1)
    monkeypatch.setattr("itm_harness.datasets.pictures.pixels.BLOCKS", 2)
    reader = split().pictures
    assert reader.content_hash().startswith("sampled:")
    assert not reader.content_hash(whole=True).startswith("sampled:")


def test_a_broken_picture_is_named_from_the_threads(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes()[:40])
    reader = PixelReader([tmp_path / name for name in ("a.png", "b.png", "c.png")], Pixels(4))
    with pytest.raises(DataError, match=r"b.png cannot be decoded"):
        reader.read(np.arange(3))


def test_threads_do_not_change_what_is_read(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(20)]
    for path in paths:
        Image.fromarray(rng.integers(256, size=(9, 7, 3), dtype=np.uint8)).save(path)
    cuts, digests = rng.random((20, 4)), set()
    for threads in (1, 4):
        monkeypatch.setattr("itm_harness.datasets.pictures.pixels._cores", lambda threads=threads: threads)
        pixels = PixelReader(paths, Pixels(6, crop=0.5, flip=True)).read(np.arange(20), cuts)
        digests.add(hashlib.sha256(pixels.contiguous().numpy()).hexdigest())
    assert len(digests) == 1
