"""`data check` on pictures: which are broken, whether they are there, and for whom that matters."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from itm_harness.benchmarks.commands.app import app
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.datasets.batch import Inputs, Pixels
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.check import check_dataset
from itm_harness.datasets.files.check_pictures import FEW, LISTED, broken_pictures, require_intact
from itm_harness.datasets.pictures.folder import open_picture
from itm_harness.datasets.precomp import open_dataset
from itm_tests.trees import write_f30k, write_pictures


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


@pytest.fixture
def run(root):
    """Start a run on pictures by the command line; what stopped it."""
    settings = ["--set=grid.backbone=timm:test_resnet", "--set=grid.weights=null", "--set=text.bert=null"]

    def call(*more, variant="grid"):
        command = ["run", "--method", "gpo", "--variant", variant, "--dataset", "f30k", *settings, "--device", "cpu"]
        done = CliRunner().invoke(app, [*command, "--data-root", str(root), "--output", str(root / "out"), *more])
        assert not (root / "out" / "runs").exists()
        return done.exception

    return call


def test_a_run_on_pictures_is_refused_before_it_begins(root, run):
    (root / "f30k" / "images" / "train_1002.jpg").unlink()
    error = run()
    assert isinstance(error, DataError)
    assert "lacks 1 of the 6 pictures of train (train_1002.jpg)" in str(error)


@pytest.mark.parametrize("variant", ["grid", "region-grid"])
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_broken_picture_of_test_is_found_before_training(root, run, variant, more):
    """A picture that is cut short only towards its end: its size can still be read."""
    write_pictures(root / "f30k" / "precomp", "test")
    path = root / "f30k" / "images" / "test_1004.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    assert Image.open(path).size == (52, 40)
    error = run(*more, variant=variant)
    assert isinstance(error, DataError)
    assert "test_1004.jpg cannot be decoded as a picture" in str(error)


@pytest.fixture
def decoded(monkeypatch, tmp_path):
    """The names of the pictures that are decoded, with a cache of its own."""
    names = []

    def noted(path, smallest=None):
        names.append(path.name)
        return open_picture(path, smallest)

    monkeypatch.setattr("itm_harness.datasets.files.check_pictures.open_picture", noted)
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "cache"))
    return names


@pytest.fixture
def pictures(root):
    """Those of a split."""
    return {"test": open_dataset("f30k", root).pictures("test")}


def test_intact_pictures_are_decoded_once(pictures, decoded):
    require_intact(pictures)
    assert len(decoded) == 6
    require_intact({"test": pictures["test"], "train": pictures["test"][:2]})
    assert decoded[6:] == [path.name for path in pictures["test"][:2]]


def test_a_picture_that_was_touched_is_looked_at_again(pictures, decoded):
    require_intact(pictures)
    path = pictures["test"][2]
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:60] + bytes(size - 60))
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError, match=r"1002.jpg cannot be decoded"):
        require_intact(pictures)
    with pytest.raises(DataError, match=r"1002.jpg cannot be decoded"):  # there is no stamp for what is broken
        require_intact(pictures)


def test_broken_pictures_of_every_split_are_named_and_more_are_counted(pictures, decoded):
    for path in pictures["test"][1:]:
        spoil(path)
    with pytest.raises(DataError) as error:
        require_intact({"dev": pictures["test"][:1], "test": pictures["test"], "train": pictures["test"][2:3]})
    lines = str(error.value).splitlines()
    assert len(lines) == FEW + 1 + 1
    assert lines[FEW].startswith("2 more pictures of ")


def test_processes_that_begin_together_decode_once(pictures, decoded):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: require_intact(pictures), range(4)))
    assert len(decoded) == 6


def test_a_cache_that_cannot_be_written_is_done_without(pictures, decoded, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "file"))
    require_intact(pictures)
    require_intact(pictures)
    assert len(decoded) == 12


def test_what_is_done_is_told(pictures, decoded):
    told = []
    require_intact(pictures, told.append)
    require_intact(pictures, told.append)
    assert told == ["decoding the pictures of test, once, to find broken ones now: 6 of 6"]


def test_data_check_tells_how_many_pictures_it_has_decoded(root):
    told = []
    check_dataset(str(root / "small.yaml"), root, tell=told.append, images=True)
    assert "pictures of dev, 6 of 6" in told


def test_a_run_looks_at_no_more_pictures_than_it_reads(root, decoded):
    overrides = {"grid.backbone": "timm:test_resnet", "grid.weights": None, "text.bert": None}
    Job(RunOptions("gpo", "f30k", root, "grid", overrides, limit=2)).require_files()
    assert set(decoded) == {"train_1000.jpg", "train_1001.png"}
