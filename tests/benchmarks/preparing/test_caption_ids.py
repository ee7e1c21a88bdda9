"""prepare --what caption_ids: captions of SCAN's files are found again in COCO's, whatever was done to their dots."""

import json

import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.datasets.errors import DataError
from itm_tests.trees import write_coco


@pytest.fixture
def folder(tmp_path):
    folder = write_coco(tmp_path, testall=20)
    lines = [f"A Dog , number {i} runs ." if c else "a picture" for i in range(20) for c in range(5)]
    lines[7] = "a Picture ."  # twice the words of one picture
    (folder / "testall_caps.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder


def coco(tmp_path, change=lambda annotations: None):
    """COCO's JSON of the same captions, in another order, with other dots."""
    annotations = [
        {"id": 1000 + 5 * i + c, "image_id": i,
         "caption": f"a dog, number {i} runs" if c and (i, c) != (1, 2) else "A picture."}
        for i in range(20) for c in range(5)
    ]  # fmt: skip
    change(annotations)
    path = tmp_path / "captions_val2014.json"
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in reversed(range(20))]
    path.write_text(json.dumps({"images": images, "annotations": annotations[::-1]}))
    return path


def make(tmp_path, source, quiet, **changes):
    return prepare(PrepareOptions("coco", tmp_path, ("caption_ids",), sources=(str(source),), **changes), quiet)


def test_every_caption_gets_an_id_of_its_picture_once(tmp_path, folder, quiet):
    (path,) = make(tmp_path, coco(tmp_path), quiet)
    assert path == folder / "testall_caption_ids.txt"
    ids = [int(line) for line in path.read_text().split()]
    assert sorted(ids) == list(range(1000, 1100))
    assert [number // 5 for number in ids] == [200 + i for i in range(20) for _ in range(5)]
    assert {ids[5], ids[7]} == {1005, 1007}  # the two with the same words
    assert make(tmp_path, coco(tmp_path), quiet) == []


def test_captions_that_are_not_there_are_named(tmp_path, folder, quiet):
    source = coco(tmp_path, lambda annotations: annotations[42].update(caption="something else"))
    with pytest.raises(DataError, match=r"testall_caps.txt, line 45: 'A Dog , number 8 runs .' is not among the capt"):
        make(tmp_path, source, quiet)
    assert not (folder / "testall_caption_ids.txt").exists()


def test_sources_without_ids_and_files_of_others_are_refused(tmp_path, folder, quiet):
    (tmp_path / "captions.csv").write_text("image,caption\na.jpg,x\n")
    with pytest.raises(DataError, match="line 2 has no caption id"):
        make(tmp_path, tmp_path / "captions.csv", quiet)
    (folder / "testall_caption_ids.txt").write_text("1\n")
    with pytest.raises(RunError, match="no manifest beside it"):
        make(tmp_path, coco(tmp_path), quiet)
    with pytest.raises(RunError, match="needs COCO's captions"):
        prepare(PrepareOptions("coco", tmp_path, ("caption_ids",)), quiet)
