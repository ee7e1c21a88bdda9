"""`data check` on pictures: which are broken, whether they are there, and for whom that matters."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from datasets.batch import Inputs, Pixels
from datasets.check import check_dataset
from datasets.check_pictures import LISTED, broken_pictures
from harness import app
from tests.trees import write_f30k, write_pictures


@pytest.fixture
def root(tmp_path):
    folder = write_f30k(tmp_path, 6, vectors=8)
    write_pictures(folder, "train")  # the splits have the same ids
    (tmp_path / "small.yaml").write_text("extends: f30k\nname: f30k\nbenchmarks: [{name: tiny, images: 6}]\n")
    return tmp_path


def report(root, images=False):
    return check_dataset(str(root / "small.yaml"), root, {"seer": Inputs(pixels=Pixels(8))}, images=images)


def spoil(path):
    path.write_bytes(path.read_bytes()[:60])


def test_broken_pictures_are_named_and_counted(tmp_path):
    paths = [tmp_path / f"{i:02}.png" for i in range(LISTED + 5)]
    for path in paths:
        Image.fromarray(np.random.default_rng(0).integers(256, size=(8, 8, 3), dtype=np.uint8)).save(path)
    assert broken_pictures(paths) == []
    spoil(paths[3])
    (sentence,) = broken_pictures(paths)
    assert "03.png cannot be decoded as a picture" in sentence
    for path in paths:
        spoil(path)
    assert len(broken_pictures(paths)) == LISTED + 1
    assert broken_pictures(paths)[-1].startswith("5 more pictures of ")


def test_pictures_are_found_and_decoded_where_that_is_asked_for(root):
    assert report(root).problems == []
    assert sum("6 pictures of" in line for line in report(root).found) == 3
    spoil(root / "f30k" / "images" / "train_1002.jpg")
    assert report(root).problems == []  # it is only looked whether files are there
    assert {p.split(" cannot")[0].rsplit("/")[-1] for p in report(root, images=True).problems} == {"train_1002.jpg"}


def test_missing_pictures_matter_to_methods_that_read_them(root):
    (root / "f30k" / "images" / "train_1002.jpg").unlink()
    (first, *_) = report(root).missing
    assert "lacks 1 of the 6 pictures" in first.sentence
    assert first.methods == ("seer",)
    assert check_dataset(str(root / "small.yaml"), root).missing == []
    assert "lacks 1 of the 6 pictures" in report(root, images=True).problems[0]


def test_a_run_on_pictures_is_refused_before_it_begins(root):
    (root / "f30k" / "images" / "train_1002.jpg").unlink()
    settings = ["--set=grid.backbone=timm:test_resnet", "--set=grid.weights=null", "--set=text.bert=null"]
    command = ["run", "--method", "gpo", "--variant", "grid", "--dataset", "f30k", *settings, "--device", "cpu"]
    done = CliRunner().invoke(app, [*command, "--data-root", str(root), "--output", str(root / "out")])
    assert "lacks 1 of the 6 pictures of train (train_1002.jpg)" in str(done.exception)
    assert not (root / "out" / "runs").exists()
