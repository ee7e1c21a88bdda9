"""Ids of captions: a number a line, as many as captions, each once."""

import pytest

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.caption_ids import caption_ids_path, read_caption_ids
from itm_harness.datasets.precomp import open_dataset
from itm_tests.trees import write_coco


def test_they_lie_beside_the_captions_of_the_split(tmp_path):
    folder = write_coco(tmp_path)
    path = caption_ids_path(open_dataset("coco", tmp_path), "test")
    assert path == folder / "testall_caption_ids.txt"
    path.write_text("770337\n12\n3\n")
    assert read_caption_ids(path, 3).tolist() == [770337, 12, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n2\n", "holds 2 ids, but there are 3 captions"),
        ("1\ntwo\n3\n", "line 2: 'two' is no caption id"),
        (f"1\n{'9' * 30}\n3\n", "line 2"),
        ("1\n2\n1\n", "id 1 more than once"),
    ],
)
def test_what_is_wrong_is_said(text, message, tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_caption_ids(path, 3)
