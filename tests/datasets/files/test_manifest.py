"""Manifests: only the file that one describes is known by it."""

import numpy as np
import pytest

from itm_harness.datasets.files.manifest import Manifest, manifest_path, read_manifest, rows_print


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "train_captions.npy"
    array = np.arange(40, dtype=np.float32).reshape(20, 2)
    np.save(path, array)
    manifest_path(path).write_text(made(rows=rows_print(array)).model_dump_json())
    return path


def made(**changes):
    values = {"encoder": "embedded", "fitted": True, "texts": "t", "state": "s", "shape": (20, 2), "dtype": "float32"}
    return Manifest(**{**values, **changes})


def test_a_file_with_its_manifest(path):
    assert manifest_path(path).name == "train_captions.npy.json"
    assert read_manifest(path).encoder == "embedded"


@pytest.mark.parametrize("other", [np.zeros((20, 2), np.float32), np.arange(40, dtype=np.float32).reshape(10, 4)])
def test_another_file_under_the_same_name_is_not_taken_for_it(path, other):
    np.save(path, other)
    assert read_manifest(path) is None


def test_no_manifest_and_a_damaged_one(path):
    manifest_path(path).write_text("{")
    assert read_manifest(path) is None
    manifest_path(path).unlink()
    assert read_manifest(path) is None


def test_content_is_the_same_whatever_the_libraries():
    assert made(rows="a", libraries={"torch": "2"}).same_content(made(rows="b"))
    for change in ({"texts": "u"}, {"state": "u"}, {"shape": (20, 3)}, {"encoder": "bge"}, {"pooling": "cls"}):
        assert not made().same_content(made(**change))


def test_a_label_names_the_pooling_where_there_is_one():
    assert (made().label, made(encoder="bge", pooling="cls").label) == ("embedded", "bge (cls)")
