"""ECCV Caption and CxC: the library's own numbers on the same rankings, and ids that do not fit."""

import numpy as np
import pytest
import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol import eccv
from itm_tests.judged import small_library

OWNER = np.repeat(np.arange(20), 5)


@pytest.fixture
def library(monkeypatch):
    return small_library(monkeypatch)


def scores(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((20, 100)).astype(np.float32))


def ranked(row, items):
    return items[np.argsort(-row.numpy(), kind="stable")].tolist()


def test_the_numbers_are_those_of_the_library_on_complete_rankings(library):
    similarity, captions = scores(), np.array(library.coco_ids)
    images = np.array(list(library.coco_gts["i2t"]))
    i2t = {int(i): ranked(row, captions) for i, row in zip(images, similarity, strict=True)}
    t2i = {int(c): ranked(row, images) for c, row in zip(captions, similarity.T, strict=True)}
    wanted = library.compute_all_metrics(i2t, t2i, target_metrics=eccv.JUDGED, Ks=(1, 5, 10))
    found = eccv.judged(similarity, captions, OWNER)
    for side in ("i2t", "t2i"):
        one = getattr(found, side)
        assert one.map_at_r == pytest.approx(100 * wanted["eccv_map_at_r"][side], abs=1e-9)
        assert one.r_precision == pytest.approx(100 * wanted["eccv_rprecision"][side], abs=1e-9)
        assert one.r1 == pytest.approx(100 * wanted["eccv_r1"][side], abs=1e-9)
        recalls = [100 * wanted[f"cxc_r{k}"][side] for k in (1, 5, 10)]
        assert [one.cxc_r1, one.cxc_r5, one.cxc_r10] == pytest.approx(recalls, abs=1e-9)
    assert found.i2t.map_at_r < found.i2t.r_precision < 100


def test_another_order_of_images_and_captions_gives_the_same(library):
    similarity, captions = scores(), np.array(library.coco_ids)
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(20), rng.permutation(100)
    moved = similarity[rows][:, columns]
    image_of_text = np.argsort(rows)[OWNER[columns]]
    assert eccv.judged(moved, captions[columns], image_of_text) == eccv.judged(similarity, captions, OWNER)


def test_perfect_scores_are_perfect(library):
    captions, images = np.array(library.coco_ids), list(library.coco_gts["i2t"])
    right = torch.tensor([[float(c in library.eccv_gts["i2t"][i]) for c in captions.tolist()] for i in images])
    found = eccv.judged(right, captions, OWNER)
    assert set(found.i2t.model_dump().values()) == set(found.t2i.model_dump().values()) == {100.0}


def test_ids_of_others_or_in_another_order_are_refused(library):
    captions = np.array(library.coco_ids)
    with pytest.raises(RunError, match="not those of COCO's 25,000 test captions"):
        eccv.judged(scores(), captions + 1, OWNER)
    swapped = captions.copy()
    swapped[[3, 5]] = swapped[[5, 3]]
    with pytest.raises(RunError, match="mix images, as in line 4"):
        eccv.judged(scores(), swapped, OWNER)


def test_all_of_coco_is_what_the_library_ships():
    gallery = eccv.coco_gallery()
    assert (len(gallery.image_ids), len(gallery.caption_ids)) == (5000, 25000)
    found = eccv._image_ids(eccv._library(), gallery.caption_ids, gallery.image_of_caption)
    assert found.tolist() == gallery.image_ids.tolist()
