import json

import numpy as np
import pytest

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.arrays import Packed
from itm_harness.datasets.sidecars import open_sidecar, sidecar_missing
from itm_harness.datasets.spec import DatasetSpec, find_spec
from itm_harness.datasets.text.captions import read_layout

IMAGES, TEXTS = 4, 12  # three captions an image
RNG = np.random.default_rng(0)


@pytest.fixture
def layout(tmp_path):
    (tmp_path / "train_caps.txt").write_text("a dog\n" * TEXTS)
    (tmp_path / "train_ids.txt").write_text("".join(f"{i}\n" for i in range(IMAGES) for _ in range(3)))
    return read_layout(tmp_path / "train_caps.txt", tmp_path / "train_ids.txt", None, False, 5)


def save(tmp_path, name, array):
    np.save(tmp_path / name, array)
    return array


def opened(tmp_path, layout, name, spec=None):
    return open_sidecar(spec or find_spec("f30k"), name, tmp_path, "train", layout)


def test_descriptions_per_caption_each_pair_has_its_own(tmp_path, layout):
    vectors = save(tmp_path, "train_aux_cap_bge_flor_det.npy", RNG.random((TEXTS, 3)).astype(np.float32))
    sidecar = opened(tmp_path, layout, "descriptions_star")
    assert sidecar.pair_rows.tolist() == list(range(TEXTS))
    assert np.array_equal(sidecar.gather(sidecar.rows[[2, 0]]), vectors[[6, 0]])  # first caption's of images


def test_descriptions_per_image_are_recognised(tmp_path, layout):
    save(tmp_path, "train_aux_cap_bge_flor_det.npy", np.zeros((IMAGES, 3), np.float32))
    sidecar = opened(tmp_path, layout, "descriptions_star")
    assert sidecar.rows.tolist() == [0, 1, 2, 3]
    assert sidecar.pair_rows[:4].tolist() == [0, 0, 0, 1]


def test_image_vectors_stored_per_caption_use_the_first_row_of_an_image(tmp_path, layout):
    save(tmp_path, "train_clip_tiny_ims.npy", np.zeros((TEXTS, 3), np.float16))
    sidecar = opened(tmp_path, layout, "clip_images")
    assert sidecar.rows.tolist() == [0, 3, 6, 9]
    assert sidecar.pair_rows[:4].tolist() == [0, 0, 0, 3]
    assert sidecar.gather(np.array([0])).dtype == np.float32


def test_whole_numbers_stay_whole(tmp_path, layout):
    (tmp_path / "factual").mkdir()
    relations = save(tmp_path, "factual/train_caps_relation_matrices_cls_bge.npy", np.ones((TEXTS, 2, 2), np.int16))
    gathered = opened(tmp_path, layout, "factual_relations").gather(np.array([1, 5]))
    assert gathered.dtype == np.int64
    assert np.array_equal(gathered, relations[[1, 5]])


def sizes_file(tmp_path, widths, heights):
    records = np.zeros(len(widths), [("image_h", "<i8"), ("image_w", "<i8")])
    records["image_w"], records["image_h"] = widths, heights
    save(tmp_path, "train_ims_size.npy", records)


@pytest.mark.parametrize("each", [1, 3])
def test_boxes_in_pixels_are_divided_by_their_pictures_size(tmp_path, layout, each):
    boxes = np.repeat(np.random.default_rng(0).random((IMAGES, 2, 4)).astype(np.float32) * 90 + 5, each, axis=0)
    path = tmp_path / "train_ims_bbx.npy"
    np.save(path, boxes)
    before = path.read_bytes()
    widths, heights = np.array([100, 200, 300, 400]), np.array([100, 50, 40, 30]) * 4
    sizes_file(tmp_path, np.repeat(widths, each), np.repeat(heights, each))
    sidecar = opened(tmp_path, layout, "boxes")
    for _ in range(3):  # the released loader divides in place: the second look would give other boxes
        gathered = sidecar.gather(sidecar.rows[[3, 1, 1]])
        for result, image in zip(gathered, [3, 1, 1], strict=True):
            expected = boxes[image * each] / np.array([widths[image], heights[image]] * 2)
            assert result == pytest.approx(expected, rel=1e-6)
    assert path.read_bytes() == before


def test_boxes_in_shares_are_left_as_they_are_even_with_sizes(tmp_path, layout):
    boxes = save(tmp_path, "train_ims_bbx.npy", RNG.random((IMAGES, 2, 4)).astype(np.float32))
    sizes_file(tmp_path, [100] * IMAGES, [100] * IMAGES)
    assert np.array_equal(opened(tmp_path, layout, "boxes").gather(np.arange(IMAGES)), boxes)


def test_boxes_follow_the_kept_regions(tmp_path, layout):
    boxes = save(tmp_path, "train_ims_bbx.npy", RNG.random((IMAGES, 3, 4)).astype(np.float32))
    kept = np.array([[False, True, True], [True, False, False]])
    result = opened(tmp_path, layout, "boxes").gather(np.array([2, 0]), Packed.of(kept))
    assert np.array_equal(result[0], boxes[2, 1:])
    assert np.array_equal(result[1], np.stack([boxes[0, 0], np.zeros(4)]))


def test_boxes_in_pixels_need_sizes_or_a_picture_size(tmp_path, layout):
    save(tmp_path, "train_ims_bbx.npy", np.full((IMAGES, 2, 4), 56, np.int32))
    with pytest.raises(DataError, match=r"train_ims_bbx.npy holds boxes in pixels.*image_sizes"):
        opened(tmp_path, layout, "boxes")
    assert "boxes in pixels" in sidecar_missing(find_spec("f30k"), "boxes", tmp_path, "train")
    assert np.unique(opened(tmp_path, layout, "boxes", find_spec("f8k")).gather(np.array([0]))).tolist() == [0.25]
    assert sidecar_missing(find_spec("f8k"), "boxes", tmp_path, "train") is None


def test_sizes_as_a_sidecar_of_their_own(tmp_path, layout):
    sizes_file(tmp_path, [1, 2, 3, 4], [5, 6, 7, 8])
    assert opened(tmp_path, layout, "image_sizes").gather(np.array([2])).tolist() == [[3, 7]]
    save(tmp_path, "train_ims_size.npy", np.zeros((IMAGES, 2)))
    with pytest.raises(DataError, match="positive width and height"):
        opened(tmp_path, layout, "image_sizes")


def test_dependencies_come_as_rows_of_the_batch_root_first(tmp_path, layout):
    pairs = [[[0, 2], [2, 1]], [], [[0, 1]], *[[[0, 1], [1, 2]]] * (TEXTS - 3)]
    (tmp_path / "train_caps.json").write_text(json.dumps(pairs))
    sidecar = opened(tmp_path, layout, "dependencies")
    gathered = sidecar.gather(np.array([3, 1, 0, 0]))
    assert gathered.tolist() == [[0, 0, 1], [0, 1, 2], [2, 0, 2], [2, 2, 1], [3, 0, 2], [3, 2, 1]]
    assert gathered.dtype == np.int64


@pytest.mark.parametrize(
    "content", ['{"a": 1}', "[[[1, 2, 3], [1, 2, 3]]]", "[[1, 2]]", '[[["x", "y"]]]', "[", "[[[1, 2], [1]]]"]
)
def test_other_json_is_refused(tmp_path, layout, content):
    (tmp_path / "train_caps.json").write_text(content)
    with pytest.raises(DataError, match=r"train_caps.json (does not hold a JSON list of|cannot be read as JSON)"):
        opened(tmp_path, layout, "dependencies")


def test_counts_that_do_not_fit_are_refused(tmp_path, layout):
    save(tmp_path, "train_cap_bge.npy", np.zeros((IMAGES, 3), np.float32))
    with pytest.raises(DataError, match=r"holds 4 rows, but the split has 4 images and 12 captions; .* per caption"):
        opened(tmp_path, layout, "caption_vectors")
    (tmp_path / "train_caps.json").write_text(json.dumps([[[0, 1]]] * 5))
    with pytest.raises(DataError, match="holds 5 rows"):
        opened(tmp_path, layout, "dependencies")
    save(tmp_path, "train_cap_bge.npy", np.array(["text"] * TEXTS))
    with pytest.raises(DataError, match="expected numbers"):
        opened(tmp_path, layout, "caption_vectors")
    save(tmp_path, "train_ims_bbx.npy", np.zeros((IMAGES, 2, 5), np.float32))
    with pytest.raises(DataError, match=r"expected \(images, regions, 4\)"):
        opened(tmp_path, layout, "boxes")


def test_numbers_that_are_not_finite_are_named_by_row(tmp_path, layout):
    vectors = np.zeros((TEXTS, 3), np.float32)
    vectors[7, 1] = np.nan
    save(tmp_path, "train_cap_bge.npy", vectors)
    sidecar = opened(tmp_path, layout, "caption_vectors")
    sidecar.gather(np.array([0, 6, 8]))
    with pytest.raises(DataError, match=r"train_cap_bge\.npy, row 7"):
        sidecar.gather(np.array([0, 7]))


def test_a_missing_file_is_named_with_what_it_is_and_how_to_get_it(tmp_path, layout):
    with pytest.raises(
        DataError,
        match=r"train_cap_bge.npy .or prepared/train_captions.npy. is missing: sentence vectors .* VSD repository",
    ):
        opened(tmp_path, layout, "caption_vectors")


def test_several_files_of_one_pattern_are_not_chosen_from(tmp_path, layout):
    for model in "ab":
        save(tmp_path, f"train_clip_{model}_ims.npy", np.zeros((IMAGES, 3), np.float32))
    with pytest.raises(DataError, match=r"train_clip_a_ims\.npy, train_clip_b_ims.npy all fit"):
        opened(tmp_path, layout, "clip_images")


def test_the_first_of_several_patterns_that_exists_is_read(tmp_path, layout):
    spec = DatasetSpec.model_validate(
        {
            "name": "mine",
            "benchmarks": [{"name": "b", "images": 1}],
            "sidecars": {
                "v": {"side": "text", "rows": "caption", "files": ["x.npy", "y.npy"], "what": "v", "made_by": "me"}
            },
        }
    )
    values = save(tmp_path, "y.npy", RNG.random((TEXTS, 2)).astype(np.float32))
    assert np.array_equal(opened(tmp_path, layout, "v", spec).gather(np.arange(TEXTS)), values)
