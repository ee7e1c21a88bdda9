"""Hashes of pre-trained weights: of the files that a configuration reads, wherever it names them."""

import hashlib
import os

import pytest

from itm_harness.benchmarks.runs.pretrained import file_hash, pretrained_hashes
from itm_harness.methods.config import MethodConfig, TextConfig
from itm_harness.methods.encoders.grid_config import GridConfig
from itm_harness.methods.encoders.tower_config import TowerConfig


class Pictures(MethodConfig):
    grid: GridConfig = GridConfig()
    tower: TowerConfig = TowerConfig()


class Hosting(MethodConfig):
    host: Pictures = Pictures()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "cache"))


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def written(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(name)
    return folder


def test_every_file_of_weights_is_hashed_under_its_key(tmp_path):
    bert = written(tmp_path / "bert", "model.safetensors", "config.json", "pytorch_model.bin")
    files = written(tmp_path / "files", "grid.pth", "clip.bin")
    config = Hosting(
        host=Pictures(
            text=TextConfig(bert=str(bert)),
            grid=GridConfig(backbone="butd-resnet101", weights=str(files / "grid.pth")),
            tower=TowerConfig(model="ViT-B-32", weights=str(files / "clip.bin")),
        )
    )
    assert pretrained_hashes(config) == {
        "host.text.bert/model.safetensors": sha256(bert / "model.safetensors"),
        "host.grid.weights/grid.pth": sha256(files / "grid.pth"),
        "host.tower.weights/clip.bin": sha256(files / "clip.bin"),
    }


def test_weights_in_several_files_are_all_hashed(tmp_path):
    bert = written(tmp_path / "bert", "model-1-of-2.safetensors", "model-2-of-2.safetensors")
    assert list(pretrained_hashes(MethodConfig(text=TextConfig(bert=str(bert))))) == [
        "text.bert/model-1-of-2.safetensors",
        "text.bert/model-2-of-2.safetensors",
    ]


@pytest.mark.parametrize(
    "config",
    [
        Pictures(),
        MethodConfig(text=TextConfig(bert="bert", bert_sizes={"hidden_size": 8})),
        Pictures(grid=GridConfig(backbone="timm:resnet18", weights=None)),
    ],
)
def test_weights_that_are_drawn_have_no_files(config):
    assert pretrained_hashes(config) == {}


def test_a_file_is_read_again_only_where_it_has_changed(tmp_path):
    (path := tmp_path / "weights").write_bytes(b"first")
    first, before = file_hash(path), path.stat().st_mtime_ns
    assert first == sha256(path)
    path.write_bytes(b"other")
    os.utime(path, ns=(before, before))
    assert file_hash(path) == first  # taken from the cache: same size, same time
    os.utime(path, ns=(before, before + 1))
    assert file_hash(path) == sha256(path) != first
