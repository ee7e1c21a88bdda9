import numpy as np
import pytest

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.text.captions import read_captions, read_layout


def layout(tmp_path, n_texts, ids=None, feature_rows=None, repeated=False, per_image=5):
    (tmp_path / "x_caps.txt").write_text("".join(f"caption {i}\n" for i in range(n_texts)))
    if ids is not None:
        (tmp_path / "x_ids.txt").write_text("".join(f"{i}\n" for i in ids))
    return read_layout(tmp_path / "x_caps.txt", tmp_path / "x_ids.txt", feature_rows, repeated, per_image)


def test_an_id_per_caption(tmp_path):
    found = layout(tmp_path, 6, ["a", "a", "b", "c", "c", "c"], feature_rows=3)
    assert found.image_ids == ["a", "b", "c"]
    assert found.image_of_text.tolist() == [0, 0, 1, 2, 2, 2]
    assert found.first_text.tolist() == [0, 2, 3]


def test_captions_of_an_image_need_not_be_neighbours(tmp_path):
    found = layout(tmp_path, 4, ["b", "a", "b", "a"])
    assert found.image_ids == ["b", "a"]
    assert found.image_of_text.tolist() == [0, 1, 0, 1]
    assert found.first_text.tolist() == [0, 1]


def test_an_id_per_image(tmp_path):
    found = layout(tmp_path, 6, ["a", "b"], feature_rows=2)
    assert found.image_of_text.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.first_text.tolist() == [0, 3]
    assert found.image_ids == ["a", "b"]


def test_without_ids_the_features_tell_the_number_of_captions(tmp_path):
    assert layout(tmp_path, 6, feature_rows=3).image_of_text.tolist() == [0, 0, 1, 1, 2, 2]
    assert layout(tmp_path, 4, feature_rows=4).n_images == 4


def test_without_ids_and_features_an_image_has_five_captions(tmp_path):
    found = layout(tmp_path, 10)
    assert found.n_images == 2
    assert found.image_ids == ["0", "1"]
    assert layout(tmp_path, 10, feature_rows=10, repeated=True).n_images == 2


def test_ids_that_only_number_the_captions_do_not_make_images(tmp_path):
    assert layout(tmp_path, 10, range(10), feature_rows=2).n_images == 2
    assert layout(tmp_path, 10, range(10), feature_rows=10, repeated=True).n_images == 2
    assert layout(tmp_path, 10, range(10), feature_rows=10).n_images == 10


def test_rows_of_images_by_the_number_of_rows(tmp_path):
    found = layout(tmp_path, 10, feature_rows=2)
    assert found.image_rows(2).tolist() == [0, 1]
    assert found.image_rows(10).tolist() == [0, 5]
    assert found.image_rows(3) is None


@pytest.mark.parametrize(
    ("ids", "feature_rows", "counted"),
    [
        (["a", "b"], None, "2 ids in x_ids.txt"),
        (None, 3, "3 rows of features"),
        (None, None, "5 captions per image"),
    ],
)
def test_captions_that_are_no_multiple_of_the_images(tmp_path, ids, feature_rows, counted):
    with pytest.raises(DataError, match=f"11 captions, which is no multiple of the images .{counted}"):
        layout(tmp_path, 11, ids, feature_rows)


def test_an_empty_caption_is_named_with_its_line(tmp_path):
    path = tmp_path / "x_caps.txt"
    path.write_text("one\n  \nthree\n")
    with pytest.raises(DataError, match=r"x_caps\.txt, line 2: the caption is empty"):
        read_captions(path)
    path.write_text("")
    with pytest.raises(DataError, match=r"x_caps\.txt is empty"):
        read_captions(path)
    with pytest.raises(DataError, match="does not exist"):
        read_captions(tmp_path / "none.txt")
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match="cannot be read as UTF-8"):
        read_captions(path)


def test_lines_end_at_line_feeds_only(tmp_path):
    path = tmp_path / "x_caps.txt"
    path.write_bytes("one\r\ntwo\u2028still two\nthree".encode())
    assert read_captions(path) == ["one", "two\u2028still two", "three"]
    assert np.array_equal(layout(tmp_path, 5).image_of_text, np.zeros(5))
