"""Bad checkpoints: key lists, shapes, options of official files; descriptions inside ours; code that wants to run."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from itm_harness.benchmarks.runs.checkpoint_loading import load_ours
from itm_harness.benchmarks.training.checkpoint import FORMAT, read_about
from itm_harness.methods.gpo import GPO, GPOConfig
from itm_harness.methods.importing import import_checkpoint
from itm_harness.methods.registry import find_method
from itm_tests.fuzz.answers import answered, fuzzed
from itm_tests.fuzz.inputs import STRANGE_TEXT, VALUES, altered, damaged
from itm_tests.places import GOLDEN

OFFICIAL = GOLDEN / "gpo" / "bigru-regions" / "checkpoint.pth"
CONFIG = GPOConfig(region_dim=4, embed_size=4, text={"bert": None, "word_dim": 3, "vocabulary_size": 5})
ABOUT = {
    "method": "gpo", "variant": "gpo", "dataset": "demo", "config": CONFIG.model_dump(mode="json"),
    "vocabulary": ["<pad>", "<start>", "<end>", "<unk>", "dog"], "seed": 0, "code_hash": "c", "epoch": 1,
    "dev_rsum": 100.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def official():
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(OFFICIAL, weights_only=True)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    path = tmp_path_factory.mktemp("ours") / "best.safetensors"
    save_file(GPO(CONFIG).state_dict(), path, {FORMAT: json.dumps(ABOUT)})
    return path.read_bytes()


SHAPES = st.lists(st.integers(0, 4), max_size=4)
TENSORS = SHAPES.map(torch.zeros) | st.sampled_from([torch.tensor(3), torch.zeros(2, dtype=torch.bool)])


@st.composite
def contents(draw: st.DrawFn, valid: dict) -> object:
    """An official checkpoint's content with other state dicts, names, shapes or options."""
    states = [dict(state) for state in valid["model"]]
    for _ in range(draw(st.integers(1, 3))):
        state = draw(st.sampled_from(states))
        name = draw(st.sampled_from(sorted(state)))
        match draw(st.sampled_from(["drop", "rename", "reshape", "no tensor"])):
            case "drop":
                del state[name]
            case "rename":
                state[draw(STRANGE_TEXT)] = state.pop(name)
            case "reshape":
                state[name] = draw(TENSORS)
            case "no tensor":
                state[name] = draw(VALUES)
    options = draw(st.just(valid["opt"]) | VALUES | st.just(argparse.Namespace(margin="wide", embed_size=-1)))
    return draw(
        st.just({**valid, "model": states, "opt": options}) | st.just({**valid, "model": states[:1]})
        | st.just({"model": dict(enumerate(states))}) | VALUES
    )  # fmt: skip


@fuzzed
@given(data=st.data())
def test_official_ones(tmp_path, official, data):
    path = tmp_path / "model_best.pth"
    torch.save(data.draw(contents(official)), path)
    answered(lambda: import_checkpoint(path, GPO), path)


@fuzzed
@given(data=st.data())
def test_damaged_official_ones(tmp_path, data):
    path = tmp_path / "model_best.pth"
    path.write_bytes(data.draw(damaged(OFFICIAL.read_bytes()) | st.binary(max_size=200)))
    answered(lambda: import_checkpoint(path, GPO), path)


@fuzzed
@given(data=st.data())
def test_ours(tmp_path, ours, data):
    path = tmp_path / "best.safetensors"
    about = data.draw(altered(ABOUT).map(json.dumps) | altered(CONFIG.model_dump(mode="json")).map(described))
    save_file(GPO(CONFIG).state_dict(), path, {FORMAT: about})
    path.write_bytes(data.draw(st.just(path.read_bytes()) | damaged(ours)))

    def read():
        read_about(path)
        load_ours(path, find_method("gpo"), {})

    answered(read)


def described(config: object) -> str:
    return json.dumps({**ABOUT, "config": config})


class Hostile:
    """Unpickling it creates a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def pickled(content: object) -> bytes:
    return pickle.dumps(content, protocol=2)


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def attacks(mark: Path) -> dict[str, bytes]:
    """Files that run a command where they are unpickled without restraint."""
    hostile = Hostile(mark)
    model = [{"fc.weight": torch.zeros(2, 2)}, {"x": hostile}]
    inner = saved({"model": [hostile]})
    return {
        "a pickle": pickled(hostile),
        "torch's archive": saved({"model": model}),
        "torch's older file": pickled(0x1950A86A20F9469CFC6C) + pickled(1001) + pickled({}) + pickled(hostile),
        "its oldest, a tar": tarred({"sys_info": pickled(hostile), "pickle": pickled(hostile), "storages": b""}),
        "an option": saved({"model": [{}, {}], "opt": argparse.Namespace(name=hostile)}),
        "an archive in an archive": zipped({"archive/data.pkl": inner, "archive/version": b"3"}),
        "a pickle in a zip": zipped({"data.pkl": pickled(hostile), "version": b"3\n"}),
        "TorchScript": zipped({"m/code/__torch__.py": b"import os", "m/data.pkl": pickled(hostile)}),
        "a pickle in bytes": saved({"model": [{}], "opt": pickled(hostile)}),
        "numpy's loader": saved({"model": [{"x": NumpyLoad(mark)}]}),
    }  # fmt: skip


class NumpyLoad:
    """Unpickling it asks numpy to unpickle a file."""

    def __init__(self, mark: Path) -> None:
        mark.with_suffix(".npy").write_bytes(pickled(Hostile(mark)))
        self.file = mark.with_suffix(".npy")

    def __reduce__(self):
        return np.load, (str(self.file), None, True)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "model_best.pth"
    for attack, content in attacks(mark).items():
        path.write_bytes(content)
        assert answered(lambda: import_checkpoint(path, GPO), path), attack
        assert not mark.exists(), attack


def test_the_attacks_would_work_elsewhere(tmp_path):
    """Otherwise the test above could not fail."""
    mark = tmp_path / "mark"
    pickle.loads(attacks(mark)["a pickle"])
    assert mark.exists()
