"""Files of weights hold tensors and nothing else."""

import os

import pytest
import torch
from safetensors.torch import save_file

from itm_harness.methods.encoders.weights import fill, read_weights
from itm_harness.methods.errors import MethodError


class Hostile:
    """Unpickling this would make a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


STATE = {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s}, lambda s: {"model": s, "epoch": 3}])
def test_common_forms_of_checkpoints(tmp_path, wrap):
    torch.save(wrap({f"module.{name}": value for name, value in STATE.items()}), tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").keys() == STATE.keys()
    save_file(STATE, tmp_path / "w.safetensors")
    assert torch.equal(read_weights(tmp_path / "w.safetensors")["weight"], STATE["weight"])


def test_nothing_in_a_file_is_executed(tmp_path):
    torch.save({"weight": Hostile(tmp_path / "made")}, tmp_path / "w.pth")
    with pytest.raises(MethodError, match=r"w.pth cannot be read as weights and nothing else"):
        read_weights(tmp_path / "w.pth")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04"])
def test_damaged_files(tmp_path, content):
    for name in ("w.pth", "w.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MethodError, match=f"{name} cannot be read as weights"):
            read_weights(tmp_path / name)


def test_tensors_that_do_not_fit_are_named(tmp_path):
    layer = torch.nn.Linear(3, 2)
    fill(layer, STATE, tmp_path / "w.pth", "a layer")
    assert torch.equal(layer.weight, STATE["weight"])
    for state in ({"weight": STATE["weight"]}, {**STATE, "more": STATE["bias"]}, {**STATE, "bias": torch.zeros(3)}):
        with pytest.raises(MethodError, match=r"w.pth does not hold the weights of a layer: 1 tensors"):
            fill(layer, state, tmp_path / "w.pth", "a layer")
