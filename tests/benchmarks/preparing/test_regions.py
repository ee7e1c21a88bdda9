"""prepare --what regions: a row per picture, boxes of the cells, resumed with the same bytes, read by a run."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from itm_harness.benchmarks.commands.app import app
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.interrupt import Interrupted
from itm_harness.benchmarks.preparing import regions
from itm_harness.benchmarks.preparing.grid_extractor import GridExtractor
from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.datasets.batch import Inputs, Pixels
from itm_harness.datasets.files.manifest import read_manifest
from itm_harness.datasets.pictures.pixels import pixels_of
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import open_split
from itm_harness.methods.encoders.backbones import backbone
from itm_harness.methods.errors import MethodError
from itm_tests.trees import write_f30k, write_pictures

IMAGES = 6
SMALL = {"backbone": "timm:test_resnet", "backbone_weights": "none", "side": 96, "cells": 2}


@pytest.fixture
def root(tmp_path):
    """f30k with pictures and captions alone."""
    folder = write_f30k(tmp_path, IMAGES)
    write_pictures(folder, "train")  # the splits have the same ids
    for split in ("train", "dev", "test"):
        for name in ("ims", "ims_bbx", "ims_size"):
            (folder / f"{split}_{name}.npy").unlink()
    return tmp_path


@pytest.fixture
def make(root, quiet):
    def call(**options):
        written = prepare(PrepareOptions("f30k", root, **{"what": ["regions"], **SMALL, **options}), quiet)
        return [path.name for path in written]

    return call


def test_the_cells_of_each_picture_are_those_of_the_backbone(make, root):
    assert make(splits=["test"]) == ["test_ims.npy", "test_ims_bbx.npy", "test_ims_size.npy"]
    found = np.load(root / "f30k" / "precomp" / "test_ims.npy")
    torch.manual_seed(0)
    model = backbone("timm:test_resnet", None).eval()
    split = open_split(open_dataset("f30k", root), "test", Inputs(regions=False, pixels=Pixels(96)))
    for image in (0, 4):
        pixels = torch.from_numpy(pixels_of(split.pictures.paths[image], Pixels(96)).copy()).permute(2, 0, 1)
        with torch.no_grad():
            grid = model(pixels[None])[0].reshape(3, 3, -1)  # 96 pixels, a cell for each 32
        expected = torch.stack([grid[i : i + 2, j : j + 2].mean(dim=(0, 1)) for i in (0, 1) for j in (0, 1)])
        np.testing.assert_allclose(found[image], expected, rtol=1e-4, atol=1e-5)


def test_boxes_are_in_pixels_and_readers_make_shares_of_them(make, root):
    make()
    dataset = open_dataset("f30k", root)
    sizes = np.load(root / "f30k" / "precomp" / "train_ims_size.npy")
    assert sizes.tolist() == [[48 + i, 40] for i in range(IMAGES)]
    boxes = np.load(root / "f30k" / "precomp" / "train_ims_bbx.npy")
    np.testing.assert_allclose(boxes[1, 3], [49 / 3, 40 / 3, 49, 40], rtol=1e-5)
    train = open_split(dataset, "train", Inputs(image_sidecars=("boxes",)))
    shares = train.images([1]).sidecars["boxes"][0]
    third, most = 1 / 3, 2 / 3
    expected = [[0, 0, most, most], [third, 0, 1, most], [0, third, most, 1], [third, third, 1, 1]]
    np.testing.assert_allclose(shares, expected, rtol=1e-5)


def test_a_second_call_has_nothing_to_do_and_another_size_makes_it_anew(make, root):
    make(splits=["dev"])
    assert make(splits=["dev"]) == []
    assert make(splits=["dev"], cells=3) == ["dev_ims.npy", "dev_ims_bbx.npy"]
    manifest = read_manifest(root / "f30k" / "precomp" / "dev_ims.npy")
    assert manifest.label == "grid 3 x 3, timm:test_resnet, no pretrained weights, 96 pixels"


def test_what_was_stopped_goes_on_and_ends_with_the_same_bytes(make, root, monkeypatch):
    monkeypatch.setattr(regions.Features, "step", 2)
    make(splits=["train"])
    path = root / "f30k" / "precomp" / "train_ims.npy"
    whole = path.read_bytes()
    path.unlink()
    extract, calls = GridExtractor.extract, []

    def stopped(self, paths):
        calls.append(len(paths))
        if len(calls) == 2:
            raise Interrupted
        return extract(self, paths)

    monkeypatch.setattr(GridExtractor, "extract", stopped)
    with pytest.raises(Interrupted):
        make(splits=["train"])
    assert not path.exists()
    make(splits=["train"])
    assert path.read_bytes() == whole


def test_features_of_somebody_else_are_not_replaced(make, root):
    path = root / "f30k" / "precomp" / "test_ims.npy"
    np.save(path, np.zeros((IMAGES, 2, 3), np.float32))
    with pytest.raises(RunError, match=r"test_ims.npy is there"):
        make(splits=["test"])
    assert "test_ims.npy" in make(splits=["test"], force=True)


def test_steps_are_whole_batches_and_on_the_cpu_always_the_same(monkeypatch):
    def step(device, batch):
        monkeypatch.setattr(GridExtractor, "_device", torch.device(device))
        return regions.Features([], GridExtractor("timm:test_resnet", "none", 96, 2, batch)).step

    assert [step("cpu", batch) for batch in (None, 100, 1024)] == [256] * 3
    assert [step("cuda", batch) for batch in (None, 100, 1024)] == [256, 300, 1024]


def test_the_manifest_names_the_library_and_the_commit_of_the_weights(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--timm--test_resnet.r160_in1k"
    snapshot = cached / "snapshots" / ("ab" * 20)
    for folder in (snapshot, cached / "refs"):
        folder.mkdir(parents=True)
    (cached / "refs" / "main").write_text(snapshot.name)
    (snapshot / "model.safetensors").touch()

    def about(name, weights):
        extractor = GridExtractor(name, weights, 96, 2)
        return extractor.revision, set(extractor.libraries) - {"torch", "torchvision", "pillow"}

    assert about("timm:test_resnet", "pretrained") == (snapshot.name, {"timm"})
    assert about("timm:test_resnet", "none") == ("", {"timm"})
    assert about("timm:resnet50", "pretrained") == ("", {"timm"})  # not there
    assert about("imagenet-resnet152", "pretrained") == ("", set())
    assert about("open_clip:ViT-B-32", str(snapshot / "model.safetensors")) == (snapshot.name, {"open_clip_torch"})


def test_a_backbone_that_cannot_be_had(make, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(MethodError, match=r"resnet152-b121ed2d.pth .about 240 MB, .*: --backbone-weights PATH"):
        make(backbone="imagenet-resnet152", backbone_weights="pretrained")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MethodError, match=r"resnet18 .about 47 MB, https://.*/resnet18\..* --backbone-weights none\.$"):
        make(backbone="timm:resnet18", backbone_weights="pretrained")
    with pytest.raises(MethodError, match=r"^weights of timm:resnet18.nope are .*Invalid pretrained tag .nope."):
        make(backbone="timm:resnet18.nope", backbone_weights="pretrained")
    with pytest.raises(MethodError, match=r"--backbone timm:resnet181: timm knows no such model"):
        make(backbone="timm:resnet181")


def test_a_run_reads_them_and_its_record_says_what_they_are(make, root, tmp_path):
    make()
    settings = ["text.bert=null", "embed_size=8", "train.batch_size=10", "text.word_dim=4"]
    command = ["run", "--method", "gpo", "--dataset", "f30k", "--epochs", "1", "--device", "cpu"]
    command += [f"--set={setting}" for setting in settings]
    done = CliRunner().invoke(app, [*command, "--data-root", str(root), "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "out" / "results" / "local" / "records").glob("*.json")
    assert json.loads(path.read_text())["features"] == "grid 2 x 2, timm:test_resnet, no pretrained weights, 96 pixels"
