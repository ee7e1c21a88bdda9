import json
from pathlib import Path

import numpy as np
import pytest

from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.datasets.batch import Inputs
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.check import check_dataset
from itm_tests.trees import write_coco, write_f30k, write_pictures

METHODS = {
    "gpo": Inputs(),
    "gsmn": Inputs(image_sidecars=("boxes",), text_sidecars=("dependencies",)),
    "vsd": Inputs(image_sidecars=("descriptions_star",)),
}


@pytest.fixture
def folder(tmp_path):
    """f30k with nothing wrong with it, except that it is small."""
    (tmp_path / "small.yaml").write_text("extends: f30k\nname: f30k\nbenchmarks: [{name: tiny, images: 12}]\n")
    return write_f30k(tmp_path, vectors=8)


def checked(folder, methods=METHODS):
    root = folder.parent.parent
    return check_dataset(str(root / "small.yaml"), root, methods)


def only_problem(folder):
    (problem,) = checked(folder).problems
    assert "\n" not in problem
    return problem


def change(path, edit):
    array = np.load(path)
    edit(array)
    np.save(path, array)


def test_a_whole_data_set_is_ok(folder):
    report = checked(folder)
    assert report.ok, report.problems
    assert report.missing == []
    found = "\n".join(report.found)
    assert "train_caps.txt: 60 captions of 12 images (image ids from train_ids.txt)" in found
    assert "dev_ims.npy: 60 x 6 x 16 float32, once per caption (old SCAN file)" in found
    assert "f30k_precomp_vocab.json: 26 words" in found
    assert all(name in found for name in ("test_ims_bbx.npy", "test_caps.json", "dev_caps_entities_bge.npy"))


def test_missing_sidecars_are_told_with_the_methods_that_need_them(folder):
    for name in ("train_aux_cap_bge_flor_det.npy", "dev_ims_size.npy", "test_caps.json", "test_clip_tiny_ims.npy"):
        (folder / name).unlink()
    report = checked(folder)
    needed = {Path(m.sentence.split(" (or ")[0].split(" is missing")[0]).name: m.methods for m in report.missing}
    assert needed == {
        "train_aux_cap_bge_flor_det.npy": ("vsd",),
        "dev_ims_size.npy": ("gsmn",),
        "test_caps.json": ("gsmn",),
        "test_clip_*_ims.npy": (),
    }
    assert [p for p in report.problems if "dev_ims_bbx.npy holds boxes in pixels" in p] == report.problems


def test_a_file_that_serves_two_sidecars_is_looked_at_once_and_says_what_made_it(folder, quiet):
    for name in ("cap_bge", "cap_bge_cpm"):
        (folder / f"dev_{name}.npy").unlink()
    (folder / "dev_descriptions.txt").write_text("a dog\n" * 12)
    root = folder.parent.parent
    prepare(PrepareOptions(str(root / "small.yaml"), root, ["sentences"], splits=["dev"], width=8), quiet)
    lines = [line for line in checked(folder).found if line.startswith("dev_captions.npy")]
    assert lines == ["dev_captions.npy: 60 x 8 float32 (sentence vectors of the captions, made by prepare: embedded)"]


def test_region_features_say_what_made_them(folder, quiet):
    root = folder.parent.parent
    write_pictures(folder, "dev")
    small = {"backbone": "timm:test_resnet", "backbone_weights": "none", "side": 64, "cells": 2, "force": True}
    prepare(PrepareOptions(str(root / "small.yaml"), root, ["regions"], splits=["dev"], **small), quiet)
    found = checked(folder).found
    made = "made by prepare: grid 2 x 2, timm:test_resnet, no pretrained weights, 64 pixels"
    assert f"dev_ims.npy: 12 x 4 x 96 float32, {made}" in found
    assert "train_ims.npy: 12 x 6 x 16 float32" in found


def test_missing_features_and_captions_are_problems(folder):
    (folder / "train_ims.npy").unlink()
    (folder / "test_caps.txt").unlink()
    problems = checked(folder).problems
    assert [p.split(" is missing")[0].rsplit("/", 1)[1] for p in problems] == ["train_ims.npy", "test_caps.txt"]


def test_a_missing_folder_is_a_problem_and_an_unknown_name_an_error(tmp_path):
    report = check_dataset("coco", tmp_path)
    assert not report.ok
    assert "Kaggle" in report.problems[0]
    assert "Kaggle" in report.where
    with pytest.raises(DataError, match="did you mean 'coco'"):
        check_dataset("cocoo", tmp_path)


def test_benchmarks_expect_their_number_of_images(tmp_path):
    write_coco(tmp_path)
    problems = check_dataset("coco", tmp_path).problems
    assert ["coco-1k expects 5,000" in problems[0], "coco-5k expects 5,000" in problems[1]] == [True, True]
    assert "testall_caps.txt has 20 images" in problems[0]


def test_nan_in_features_names_rows_and_images(folder):
    def spoil(array):
        array[[16, 55], 0, 0] = np.nan

    change(folder / "dev_ims.npy", spoil)
    first = checked(folder).problems[0]
    assert "dev_ims.npy: 2 rows of features are not finite" in first
    assert "first rows 16, 55, image ids 1003, 1011" in first


def test_rows_of_an_image_that_differ(folder):
    change(folder / "test_ims.npy", lambda array: array[7].fill(0.5))
    assert "1 rows differ from that of their image's first caption, first rows 7" in only_problem(folder)


def test_boxes_outside_the_picture_or_turned_round(folder):
    change(folder / "train_ims_bbx.npy", lambda array: array[4, 0].__setitem__(2, 700))
    assert "train_ims_bbx.npy: 1 rows hold boxes outside the picture" in only_problem(folder)
    change(folder / "train_ims_bbx.npy", lambda array: array[4, 0].__setitem__(slice(None), [90, 10, 20, 50]))
    assert "first rows 4" in only_problem(folder)


def test_as_many_boxes_as_regions(folder):
    np.save(folder / "train_ims_bbx.npy", np.load(folder / "train_ims_bbx.npy")[:, :4])
    assert "holds 4 boxes per image, train_ims.npy 6 regions" in only_problem(folder)


def test_dependencies_beyond_the_words(folder):
    path = folder / "train_caps.json"
    pairs = json.loads(path.read_text())
    assert checked(folder).notes == []
    pairs[3][-1] = [8, 9]
    path.write_text(json.dumps(pairs))
    report = checked(folder)
    assert report.ok
    assert "1 captions have dependencies that point beyond their words, first captions 3" in report.notes[0]
    path.write_text(json.dumps([[[0, 30]]] * 60))
    assert "60 captions have dependencies that point beyond" in only_problem(folder)
    pairs[3][-1] = [-1, 2]
    path.write_text(json.dumps(pairs))
    assert "1 captions have negative word indices, first captions 3" in only_problem(folder)


def test_vectors_that_are_not_finite_or_too_few(folder):
    change(folder / "test_cap_bge.npy", lambda array: array[9].fill(np.inf))
    assert "test_cap_bge.npy: 1 rows are not finite" in only_problem(folder)
    np.save(folder / "test_cap_bge.npy", np.zeros((7, 8), np.float32))
    assert "test_cap_bge.npy holds 7 rows" in only_problem(folder)


def test_captions_vocabulary_and_word_ids(folder):
    (folder / "train_precaps_stan.txt").write_text("1,4,99,2\n" * 60)
    assert "train_precaps_stan.txt, line 1: an id lies outside the vocabulary" in "".join(checked(folder).problems)
    (folder / "train_precaps_stan.txt").unlink()
    (folder.parent.parent / "vocab" / "f30k_precomp_vocab.json").write_text("{}")
    assert "no SCAN vocabulary" in only_problem(folder)
    (folder.parent.parent / "vocab" / "f30k_precomp_vocab.json").unlink()
    assert "is built from the training captions" in checked(folder).notes[0]
    captions = (folder / "dev_caps.txt").read_text().splitlines()
    captions[10] = " "
    (folder / "dev_caps.txt").write_text("\n".join(captions))
    assert "dev_caps.txt, line 11: the caption is empty" in only_problem(folder)


def test_the_report_as_text(folder):
    lines = checked(folder).lines()
    assert lines[0] == f"data set f30k: {folder}"
    assert lines[-1] == "no problem found"
    assert "problems:" not in lines
    (folder / "test_caps.json").unlink()
    (folder / "dev_ims.npy").unlink()
    lines = checked(folder).lines()
    (needed,) = [line for line in lines if "Needed by: gsmn." in line]
    assert "test_caps.json (or prepared/test_dependencies.json) is missing" in needed
    assert "dev_ims.npy is missing" in lines[lines.index("problems:") + 1]
    assert "1 problems" in lines[-1]
