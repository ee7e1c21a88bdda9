"""One query's ranked list, and the captions, pictures and boxes of the test split behind it."""

import numpy as np
import pytest

from itm_harness.benchmarks.analysis.retrieval import (
    Hit,
    answer,
    benchmark_of,
    open_gallery,
    require_same_data,
    right_items,
)
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.opening import Opened
from itm_harness.datasets.errors import DataError
from itm_tests.stores import Store, make_details, ranked_details
from itm_tests.trees import PICTURE, write_f30k, write_pictures

OWNER = np.array([0, 0, 1, 1, 2, 2])
SIMILARITY = np.array([[0.9, 0.1, 0.5, 0.2, 0.3, 0.0], [0.8, 0.7, 0.6, 0.4, 0.1, 0.2], [0.3, 0.2, 0.1, 0.0, 0.5, 0.4]])


@pytest.fixture
def details():
    return ranked_details(SIMILARITY, OWNER)


def test_captions_of_an_image_are_ranked_and_its_own_are_right(details):
    found = answer(details, "i2t", 1)
    assert found.rank == 3  # its best caption, 0.6, stands behind 0.8 and 0.7
    assert found.right == [2, 3]
    assert [(hit.item, hit.right) for hit in found.hits[:4]] == [(0, False), (1, False), (2, True), (3, True)]
    assert [hit.score for hit in found.hits[:4]] == pytest.approx([0.8, 0.7, 0.6, 0.4])


def test_images_of_a_caption_are_ranked_and_its_own_is_right(details):
    found = answer(details, "t2i", 4)
    assert (found.rank, found.right) == (1, [2])
    assert found.hits == [Hit(2, pytest.approx(0.5), True), Hit(0, pytest.approx(0.3), False),
                          Hit(1, pytest.approx(0.1), False)]  # fmt: skip
    assert right_items(details, "t2i", 4) == [2]


def test_items_of_other_folds_are_not_listed(details):
    details.t2i_scores[4, 1:] = -np.inf
    assert [hit.item for hit in answer(details, "t2i", 4).hits] == [2]


@pytest.mark.parametrize(
    ("direction", "query", "message"),
    [
        ("i2t", 3, "--query 3: there are 3 images, numbered from 0 to 2"),
        ("t2i", 6, "--query 6: there are 6 captions, numbered from 0 to 5"),
        ("i2t", -1, "--query -1"),
        ("both", 0, "--direction both is not known"),
    ],
)
def test_a_query_that_does_not_exist_is_named(details, direction, query, message):
    with pytest.raises(RunError, match=message):
        answer(details, direction, query)


def test_the_benchmark_with_the_largest_galleries_is_the_default():
    store = Store()
    record = store.add(benchmarks=("folds",), folds=5)
    whole = store.add(benchmarks=("whole",)).metrics["whole"]
    both = Opened(record.model_copy(update={"metrics": {**record.metrics, "whole": whole}}), {})
    assert benchmark_of(both, None) == "whole"
    assert benchmark_of(both, "folds") == "folds"
    with pytest.raises(RunError, match="no benchmark 'wole' \\(did you mean 'whole'\\?\\); it has: folds, whole"):
        benchmark_of(both, "wole")


def test_a_gallery_is_the_test_split_as_people_see_it(tmp_path):
    folder = write_f30k(tmp_path, images=4)
    names = write_pictures(folder, "test")
    gallery = open_gallery("f30k", tmp_path)
    captions = (folder / "test_caps.txt").read_text().splitlines()
    assert gallery.captions_of(2) == captions[10:15]
    assert [path.name for path in gallery.pictures] == names
    assert gallery.name_of(3) == names[3]
    pixels = np.load(folder / "test_ims_bbx.npy")[::5]  # stored once per caption
    np.testing.assert_allclose(gallery.boxes, pixels / np.tile(PICTURE, 2), rtol=1e-6)


def test_without_pictures_and_boxes_captions_are_enough(tmp_path):
    folder = write_f30k(tmp_path, images=4)
    (folder / "test_ims_bbx.npy").unlink()
    gallery = open_gallery("f30k", tmp_path)
    assert gallery.pictures is None
    assert gallery.boxes is None
    assert "id_mapping.json" in gallery.no_pictures
    assert gallery.name_of(1) == "id 1001"


def test_other_data_than_that_of_the_record_is_refused(tmp_path):
    write_f30k(tmp_path, images=4)
    gallery = open_gallery("f30k", tmp_path)
    record = Store().add(method="gpo")
    require_same_data(gallery, record, make_details(0.5, n_images=4))
    with pytest.raises(DataError, match=r"gpo-f8k-s0-\w+ was measured on 40 images and 200 captions that are not"):
        require_same_data(gallery, record, make_details(0.5))
