"""What the viewer holds: packed ranks and lists that unpack to what was recorded, pictures and boxes."""

import base64
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from itm_harness.benchmarks.analysis.retrieval import open_gallery
from itm_harness.benchmarks.report.viewer import SIDE, STEPS, packed_gallery, packed_run
from itm_tests.pages import N_IMAGES, OWNERS, noisy_details, write_data


def unpacked(run, n_images, n_texts):
    """Ranks, items and scores of both directions, read as the page reads them."""
    planes, offset, sides = zlib.decompress(base64.b64decode(run["numbers"])), 0, []

    def take(*shape):
        nonlocal offset
        count = int(np.prod(shape))
        parts = [np.frombuffer(planes, np.uint8, count, offset + plane * count).astype(np.int64) for plane in range(4)]
        offset += 4 * count
        return sum(part << (8 * plane) for plane, part in enumerate(parts)).astype(np.int32).reshape(shape)

    for queries, listed in zip((n_images, n_texts), run["listed"], strict=True):
        ranks, items, drops = take(queries), take(queries, listed), take(queries, listed)
        levels = drops[:, :1] - np.concatenate([np.zeros_like(drops[:, :1]), drops[:, 1:].cumsum(axis=1)], axis=1)
        sides.append((ranks, items, run["low"] + run["step"] * levels))
    assert offset == len(planes)
    return sides


def test_a_run_unpacks_to_what_was_recorded():
    details = noisy_details(0.5, seed=1)
    run = packed_run(details)
    (i2t_ranks, i2t_items, i2t_scores), (t2i_ranks, t2i_items, t2i_scores) = unpacked(run, N_IMAGES, len(OWNERS))
    np.testing.assert_array_equal(i2t_ranks, details.i2t_ranks)
    np.testing.assert_array_equal(t2i_ranks, details.t2i_ranks)
    np.testing.assert_array_equal(i2t_items, details.i2t_top)
    np.testing.assert_array_equal(t2i_items, details.t2i_top)
    reach = np.ptp(np.concatenate([details.i2t_scores.ravel(), details.t2i_scores.ravel()]))
    np.testing.assert_allclose(i2t_scores, details.i2t_scores, atol=0.6 * reach / STEPS)
    np.testing.assert_allclose(t2i_scores, details.t2i_scores, atol=0.6 * reach / STEPS)


def test_items_of_other_folds_are_no_items():
    details = noisy_details(0.5, seed=2)
    details.t2i_scores[3, 4:] = -np.inf
    _, (_, items, _) = unpacked(packed_run(details), N_IMAGES, len(OWNERS))
    np.testing.assert_array_equal(items[3, :4], details.t2i_top[3, :4])
    assert (items[3, 4:] == -1).all()
    assert (items[4] >= 0).all()


def test_a_constant_score_is_packed():
    details = noisy_details(0.5, seed=3)
    for scores in (details.i2t_scores, details.t2i_scores):
        scores[:] = 0.25
    (_, _, scores), _ = unpacked(packed_run(details), N_IMAGES, len(OWNERS))
    np.testing.assert_allclose(scores, 0.25, rtol=1e-5)


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path)


def test_a_gallery_holds_captions_owners_pictures_and_boxes(data):
    gallery = open_gallery("f30k", data)
    packed = packed_gallery(gallery)
    assert packed["captions"] == gallery.captions
    assert packed["owners"] == OWNERS.tolist()
    boxes = np.frombuffer(base64.b64decode(packed["boxes"]), np.uint8).reshape(N_IMAGES, packed["regions"], 4)
    np.testing.assert_allclose(boxes / 255, gallery.boxes, atol=0.5 / 255 + 1e-6)
    for path, picture in zip(gallery.pictures, packed["pictures"], strict=True):
        shown = Image.open(io.BytesIO(base64.b64decode(picture)))
        assert shown.format == "WEBP"
        assert shown.size == Image.open(path).size


def test_drawings_keep_their_pixels_and_photos_become_small(data):
    gallery = open_gallery("f30k", data)
    drawing = Image.new("RGB", (96, 96), (62, 66, 78))
    drawing.paste((244, 136, 32), (20, 30, 50, 60))
    drawing.save(gallery.pictures[1])
    noise = np.random.default_rng(0).integers(256, size=(96, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(gallery.pictures[3])
    drawn, photo = (base64.b64decode(packed_gallery(gallery)["pictures"][i]) for i in (1, 3))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(drawn))), np.asarray(drawing))
    assert len(photo) < 0.6 * noise.size


def test_large_pictures_are_made_smaller(data):
    gallery = open_gallery("f30k", data)
    Image.new("RGB", (1000, 500), "red").save(gallery.pictures[0])
    shown = Image.open(io.BytesIO(base64.b64decode(packed_gallery(gallery)["pictures"][0])))
    assert shown.size == (SIDE, SIDE // 2)


def test_a_gallery_without_pictures_and_boxes_is_captions(data):
    (data / "f30k" / "id_mapping.json").unlink()
    (data / "f30k" / "precomp" / "test_ims_bbx.npy").unlink()
    packed = packed_gallery(open_gallery("f30k", data))
    assert (packed["pictures"], packed["boxes"], packed["regions"]) == (None, "", 0)
    assert packed["names"][2] == "id 1002"
