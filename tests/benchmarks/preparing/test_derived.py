"""prepare --output: a copy of a data set with prepared files, whole or cut, that changes nothing of the data set."""

import json

import numpy as np
import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.runs.sidecar_files import sidecar_sources
from itm_harness.datasets.batch import Inputs, Pixels
from itm_harness.datasets.demo.write import write_demo
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.check import check_dataset
from itm_harness.datasets.files.manifest import read_manifest
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import open_split
from itm_tests.trees import write_f30k, write_pictures

GSMN = Inputs(image_sidecars=("boxes",), text_sidecars=("dependencies",))


@pytest.fixture
def folder(tmp_path):
    """f30k as it was released, with vectors, pictures of test and descriptions."""
    folder = write_f30k(tmp_path / "data", 6, vectors=8)
    write_pictures(folder, "test")
    for split in ("train", "dev", "test"):
        (folder / f"{split}_descriptions.txt").write_text("".join(f"a photo of dog {i}\n" for i in range(6)))
    return folder


@pytest.fixture
def make(tmp_path, folder, quiet):
    def call(**options):
        chosen = {"what": ["sentences"], "width": 8, "output": tmp_path / "out", **options}
        written = prepare(PrepareOptions("f30k", tmp_path / "data", **chosen), quiet)
        return {path.relative_to(tmp_path).as_posix() for path in written}

    return call


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_what_is_made_is_read_there_and_the_data_set_stays_as_it_is(make, tmp_path):
    before = contents(tmp_path / "data")
    made = make()
    assert {f"out/f30k/precomp/prepared/{name}.npy" for name in ("train_captions", "dev_descriptions")} <= made
    assert contents(tmp_path / "data") == before
    vsd = Inputs(image_sidecars=("descriptions_star",), text_sidecars=("caption_vectors", "factual_entities"))
    split = open_split(open_dataset("f30k", tmp_path / "out"), "test", vsd)
    assert sidecar_sources([split]) == {
        "caption_vectors": "embedded",
        "descriptions_star": "embedded",
        "factual_entities": "as supplied",
    }
    report = check_dataset("f30k", tmp_path / "out")
    assert not [problem for problem in report.problems if "expects" not in problem]  # a benchmark of 1,000
    assert (tmp_path / "out" / "f30k" / "images" / "test_1000.jpg").exists()
    assert make() == set()


def test_cut_to_its_first_images_every_file_still_fits(make, tmp_path, folder):
    ids = [str(image) for image in (7, 9, 7, 9, 8, 8, 7)]  # captions of an image need not stand together
    for name in ("caps", "ids"):
        path = folder / f"test_{name}.txt"
        path.write_text("\n".join(path.read_text().split("\n")[:7] if name == "caps" else ids) + "\n")
    (folder / "test_descriptions.txt").write_text("seven\nnine\neight\n")
    for path in [*folder.glob("test_*.npy"), *folder.glob("factual/test_*.npy")]:
        array = np.load(path)
        images = len(array) == 6 or "_ims" in path.name
        np.save(path, array[:3] if images else array[:7])
    pairs = json.loads((folder / "test_caps.json").read_text())[:7]
    (folder / "test_caps.json").write_text(json.dumps(pairs))
    make(limit=2)
    dataset, whole = open_dataset("f30k", tmp_path / "out"), open_dataset("f30k", tmp_path / "data")
    split, original = open_split(dataset, "test", GSMN), open_split(whole, "test", GSMN)
    kept = [0, 1, 2, 3, 6]
    assert split.captions == [original.captions[i] for i in kept]
    assert split.image_ids == ["7", "9"]
    np.testing.assert_array_equal(split.images([0, 1]).regions.numpy(), original.images([0, 1]).regions.numpy())
    for row, text in enumerate(kept):
        one, other = split.texts([row]).sidecars, original.texts([text]).sidecars
        np.testing.assert_array_equal(one["dependencies"].numpy(), other["dependencies"].numpy())
    assert (tmp_path / "out/f30k/precomp/test_descriptions.txt").read_text() == "seven\nnine\n"
    assert len(np.load(tmp_path / "out/f30k/precomp/prepared/test_captions.npy")) == 5
    assert dataset.layout("train").n_images == dataset.layout("dev").n_images == 2
    report = check_dataset("f30k", tmp_path / "out")
    assert not [problem for problem in report.problems if "expects" not in problem]


def test_another_limit_in_the_same_place_is_refused(make):
    make(limit=2)
    make(limit=2)
    for other in ({"limit": 3}, {"limit": None}):
        with pytest.raises(RunError, match=r"out/f30k holds other images of f30k"):
            make(**other)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"output": None, "limit": 2}, "--limit 2 makes a smaller data set, which needs a place: --output DIR"),
        ({"what": ["layout"], "sources": ["a.csv"]}, "--output .* is not for layout, caption_ids"),
    ],
)
def test_places_that_do_not_go_together(make, options, words):
    with pytest.raises(RunError, match=words):
        make(**options)


def test_the_data_set_itself_is_no_place(make, tmp_path):
    with pytest.raises(RunError, match="is where f30k is"):
        make(output=tmp_path / "data")


@pytest.fixture
def described(tmp_path, folder, quiet):
    """prepare for a data set whose YAML names the folders of its files and pictures; what was printed."""
    (folder.parent / "images").rename(tmp_path / "photos")
    text = "extends: f30k\nname: mine\nfolder: data/f30k/precomp\nimages: photos\n"
    (tmp_path / "mine.yaml").write_text(text)

    def call(**options):
        chosen = {"what": ["sentences"], "width": 8, "limit": 2, "output": tmp_path / "out", **options}
        prepare(PrepareOptions(str(tmp_path / "mine.yaml"), **chosen), quiet)
        return quiet.file.getvalue()

    return call


def test_a_data_set_whose_yaml_names_folders_gets_a_yaml_of_its_own(described, tmp_path):
    told = described()
    own = tmp_path / "out" / "mine.yaml"
    assert told.splitlines()[-1] == f"a run reads it with --dataset {own}"
    dataset = open_dataset(str(own), tmp_path / "nowhere")
    assert dataset.folder == tmp_path / "out" / "mine" / "precomp"
    vsd = Inputs(image_sidecars=("descriptions_star",), text_sidecars=("caption_vectors",), pixels=Pixels(8))
    split = open_split(dataset, "test", vsd)
    assert (split.n_images, split.n_texts) == (2, 10)
    assert sidecar_sources([split]) == {"caption_vectors": "embedded", "descriptions_star": "embedded"}
    assert [path.parent for path in split.pictures.paths] == [tmp_path / "out" / "mine" / "images"] * 2
    described()
    own.write_text("name: mine\n")
    with pytest.raises(RunError, match=r"out/mine.yaml describes something else"):
        described()


def test_pictures_named_on_the_command_line_are_found_in_the_new_place(make, described, folder, tmp_path):
    photos, other = tmp_path / "photos", tmp_path / "other"
    make(images=photos)
    assert make() == set()
    found = open_dataset("f30k", tmp_path / "out").pictures("test")
    assert [path.name for path in found[:2]] == ["test_1000.jpg", "test_1001.png"]
    photos.rename(other)
    described(images=other, output=tmp_path / "there")
    found = open_dataset(str(tmp_path / "there" / "mine.yaml")).pictures("test")
    assert [path.resolve() for path in found] == [other / "test_1000.jpg", other / "test_1001.png"]


@pytest.mark.parametrize("limit", [None, 2])
def test_splits_may_be_made_one_after_the_other(make, tmp_path, limit):
    place = tmp_path / "out" / "f30k" / "precomp"
    make(splits=["test"], limit=limit)
    assert (place / "train_cap_bge.npy").is_symlink()
    make(splits=["train"], limit=limit)
    make(splits=["dev"], limit=limit)
    read = Inputs(image_sidecars=("descriptions_star",), text_sidecars=("caption_vectors",))
    dataset = open_dataset("f30k", tmp_path / "out")
    for split in ("train", "dev", "test"):
        assert set(sidecar_sources([open_split(dataset, split, read)]).values()) == {"embedded"}
    assert make(limit=limit) == set()


@pytest.mark.parametrize("limit", [None, 2])
def test_files_that_an_earlier_call_took_along_are_not_in_the_way(tmp_path, quiet, tiny_clip, limit):
    """CLIP vectors of the same name as those that are to be made there."""
    folder = write_f30k(tmp_path / "data", 6)
    for split in ("train", "test"):
        write_pictures(folder, split)  # the same ids
        for side, rows in (("ims", 6), ("caps", 30)):
            np.save(folder / f"{split}_clip_tiny-clip_{side}.npy", np.ones((rows, 24), np.float32))
    before = contents(tmp_path / "data")
    clip = {"clip_model": str(tiny_clip[0]), "clip_weights": str(tiny_clip[1]), "output": tmp_path / "out"}

    def make(split):
        options = PrepareOptions("f30k", tmp_path / "data", what=["clip"], splits=[split], limit=limit, **clip)
        return {path.name for path in prepare(options, quiet)}

    assert make("test") == {"test_clip_tiny-clip_ims.npy", "test_clip_tiny-clip_caps.npy"}
    assert (tmp_path / "out/f30k/precomp/train_clip_tiny-clip_ims.npy").is_symlink()
    assert len(make("train")) == 2
    assert make("test") == set()
    assert contents(tmp_path / "data") == before
    for split in ("train", "test"):
        made = read_manifest(tmp_path / f"out/f30k/precomp/{split}_clip_tiny-clip_ims.npy")
        assert (made.encoder, made.shape[0]) == ("CLIP", limit or 6)


def test_what_is_cut_keeps_what_made_it(make, tmp_path, folder, quiet):
    backbone = {"backbone": "timm:test_resnet", "backbone_weights": "none", "side": 64, "cells": 2}
    (folder / "test_ims.npy").unlink()
    prepare(PrepareOptions("f30k", tmp_path / "data", what=["regions"], splits=["test"], force=True, **backbone), quiet)
    make(limit=2)
    cut = read_manifest(tmp_path / "out/f30k/precomp/test_ims.npy")
    assert (cut.label, cut.shape[0]) == ("grid 2 x 2, timm:test_resnet, no pretrained weights, 64 pixels", 2)


def test_a_file_that_fits_neither_images_nor_captions_is_named(make, folder):
    (folder / "dev_descriptions.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"dev_descriptions.txt holds 2 rows"):
        make(limit=2)


def test_demo_is_prepared_elsewhere_and_is_then_not_simulated(tmp_path, monkeypatch, quiet):
    cache = tmp_path / "cache"
    monkeypatch.setattr("itm_harness.datasets.demo.make.ensure_demo", lambda: cache)
    monkeypatch.setenv("ITM_DATA", str(tmp_path / "none"))
    write_demo(cache, {"train": 8, "dev": 3, "test": 4})
    before = contents(cache)
    with pytest.raises(RunError, match=r"data set demo is embedded.*--output DIR"):
        prepare(PrepareOptions("demo"), quiet)
    options = PrepareOptions("demo", what=["sentences", "graphs"], output=tmp_path / "out", graph_parser="rules")
    prepare(options, quiet)
    assert contents(cache) == before
    places = {None: ["simulated_inputs"], tmp_path / "out": []}
    for root, expected in places.items():
        job = Job(RunOptions("vssr", "demo", root, overrides={"text.bert": None, "embed_size": 512}))
        assert [flag for flag in job.identity(0).flags if flag == "simulated_inputs"] == expected
    assert read_manifest(tmp_path / "out/demo/precomp/prepared/test_entities.npy").label == (
        "embedded of part-of-speech rules"
    )
    assert set(sidecar_sources([job.split("test")]).values()) == {
        "embedded", "embedded of part-of-speech rules", "relation numbers of part-of-speech rules",
    }  # fmt: skip
