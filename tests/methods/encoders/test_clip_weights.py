"""Weights of CLIP: read as tensors alone, fitted to their model, and a sentence where they are not to be had."""

import io
import json
import logging
import os
import pickle
import sys
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import load_file, save_file

from itm_harness.methods.encoders.clip_weights import NOT_WEIGHTS, RECIPE, load_clip
from itm_harness.methods.encoders.weights import read_weights
from itm_harness.methods.errors import MethodError


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def content_of(weights, file):
    """The weights in the format that the name of a file tells."""
    if file.endswith(".safetensors"):
        return weights.read_bytes()
    buffer = io.BytesIO()
    torch.save(load_file(weights), buffer)
    return buffer.getvalue()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_the_model_has_the_weights_of_the_file(tiny_clip):
    configuration, weights = tiny_clip
    loaded = load_clip(str(configuration), str(weights))
    assert same({k: v.cpu() for k, v in loaded.model.state_dict().items()}, load_file(weights))
    assert not loaded.model.training
    assert loaded.width == 24


def test_the_model_is_on_the_cpu_also_beside_a_gpu(tiny_clip, monkeypatch):
    """Methods are moved by who trains them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    loaded = load_clip(*map(str, tiny_clip))
    assert {parameter.device.type for parameter in loaded.model.parameters()} == {"cpu"}


@pytest.mark.parametrize("name", ["weights.bin", "weights.pt", "weights.pth"])
def test_weights_that_torch_saved_are_the_same_however_they_are_wrapped(tiny_clip, tmp_path, name):
    state = load_file(tiny_clip[1])
    for content in (
        state,
        OrderedDict(state),
        {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}},
        {**state, "input_resolution": 32, "context_length": 16, "vocab_size": 49408},
    ):
        torch.save(content, tmp_path / name)
        assert same(read_weights(tmp_path / name, NOT_WEIGHTS), state)


@pytest.mark.parametrize("allow", ["", "1"])
@pytest.mark.parametrize("name", ["weights.bin", "weights.pt", "weights.safetensors"])
def test_no_file_gets_its_code_run(tiny_clip, tmp_path, monkeypatch, name, allow):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", allow)  # a user's wish for other files
    mark, path = tmp_path / "run", tmp_path / name
    hostile = {**load_file(tiny_clip[1]), "visual.proj": Hostile(mark)}
    pickle.loads(pickle.dumps(Hostile(tmp_path / "works")))
    assert (tmp_path / "works").exists()
    for write in (lambda: torch.save(hostile, path), lambda: path.write_bytes(pickle.dumps(hostile))):
        write()
        with pytest.raises(MethodError, match=rf"{name} cannot be read as weights and nothing else: .*safetensors\.$"):
            load_clip(str(tiny_clip[0]), str(path))
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore::FutureWarning", "error::UserWarning")
def test_a_script_and_a_damaged_file_are_refused(tiny_clip, tmp_path):
    module = torch.nn.Linear(2, 2)
    torch.jit.save(torch.jit.trace(module, torch.zeros(1, 2)), str(tmp_path / "script.pt"))  # as OpenAI's own files are
    (tmp_path / "damaged.safetensors").write_bytes(tiny_clip[1].read_bytes()[:1000])
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"a": 1}, tmp_path / "numbers.pt")
    for name in ("script.pt", "damaged.safetensors", "list.pt", "numbers.pt"):
        with pytest.raises(MethodError, match=f"{name} cannot be read as weights and nothing else"):
            read_weights(tmp_path / name)


def test_weights_of_another_model(tiny_clip, tmp_path):
    configuration, weights = tiny_clip
    state = load_file(weights)
    state["visual.proj"], state["more"] = torch.zeros(3, 3), torch.zeros(1)
    del state["ln_final.bias"]
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(MethodError, match=r"3 tensors are .* \(ln_final.bias, more, visual.proj\); .* --clip-model"):
        load_clip(str(configuration), str(tmp_path / "other.safetensors"))


def test_weights_that_are_nowhere(tiny_clip):
    with pytest.raises(MethodError) as error:
        load_clip("ViT-B-32", "laion2b_s34b_b79k")
    told = str(error.value)
    assert "CLIP weights laion2b_s34b_b79k of ViT-B-32 (about 600 MB for ViT-B-32)" in told
    assert "https://huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K" in told
    assert told.endswith("--clip-weights path/to/open_clip_model.safetensors.")
    with pytest.raises(MethodError, match=r"open_clip_model.safetensors --clip-model ViT-B-32-quickgelu\.$"):
        load_clip("ViT-B-32", "openai")  # a file does not tell that its model has another activation
    with pytest.raises(MethodError, match=r"--clip-weights openia: .*did you mean 'openai'.*laion2b_s34b_b79k"):
        load_clip("ViT-B-32", "openia")
    with pytest.raises(MethodError, match=r"--clip-weights nowhere/a.bin: there is no such file"):
        load_clip("ViT-B-32", "nowhere/a.bin")
    with pytest.raises(MethodError, match=r"--clip-weights openai: .* tiny-clip; known: none; or name a file"):
        load_clip(str(tiny_clip[0]), "openai")


@pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_the_activation_and_the_pictures_follow_the_weights_of_the_hub(tiny_clip, tmp_path, monkeypatch, file):
    """As `openai`'s: QuickGELU though the model's configuration does not say it, and a mean and size of their own."""
    import open_clip

    configuration, weights = tiny_clip
    tag = {"hf_hub": "somebody/tiny/", "quick_gelu": True, "mean": (0.1, 0.2, 0.3), "resize_mode": "squash"}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, name: tag)
    repository = tmp_path / "models--somebody--tiny"
    for name, content in {"refs/main": b"abc", f"snapshots/abc/{file}": content_of(weights, file)}.items():
        (repository / name).parent.mkdir(parents=True)
        (repository / name).write_bytes(content)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    loaded = load_clip(str(configuration), "openai")
    assert same({k: v.cpu() for k, v in loaded.model.state_dict().items()}, load_file(weights))
    kinds = {type(module).__name__ for module in loaded.model.modules()}
    assert "QuickGELU" in kinds
    assert "GELU" not in kinds
    assert loaded.configuration["quick_gelu"]
    assert (loaded.configuration["pictures"]["mean"], loaded.configuration["pictures"]["size"]) == (
        (0.1, 0.2, 0.3),
        (32, 32),
    )


def test_in_a_recipe_model_and_weights_have_other_names(tiny_clip):
    with pytest.raises(MethodError, match=r"--set tower.weights=nowhere/a.bin: there is no such file"):
        load_clip("ViT-B-32", "nowhere/a.bin", RECIPE)
    with pytest.raises(MethodError, match=r"model.safetensors --set tower.model=ViT-B-32-quickgelu\.$"):
        load_clip("ViT-B-32", "openai", RECIPE)


def test_a_model_that_open_clip_does_not_know(tmp_path, tiny_clip):
    with pytest.raises(MethodError, match=r"--clip-model ViT-B-23: .*did you mean 'ViT-B-32'"):
        load_clip("ViT-B-23", "openai")
    (tmp_path / "half.json").write_text(json.dumps({"embed_dim": 24}))
    with pytest.raises(MethodError, match=r"half.json is no configuration of open_clip: it needs embed_dim"):
        load_clip(str(tmp_path / "half.json"), str(tiny_clip[1]))
    with pytest.raises(MethodError, match=r"nothing.json cannot be read as JSON"):
        load_clip(str(tmp_path / "nothing.json"), str(tiny_clip[1]))


def test_a_text_model_that_is_in_a_hub_out_of_reach(tiny_clip):
    with pytest.raises(MethodError, match=r"the text model of roberta-ViT-B-32 is neither in the hub's cache nor"):
        load_clip("roberta-ViT-B-32", str(tiny_clip[1]))


def test_without_open_clip(tiny_clip, monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MethodError, match=r"computes with open_clip, .*pip install -e '\.\[clip\]'"):
        load_clip(*map(str, tiny_clip))


def test_nobody_is_told_that_there_are_no_weights_and_logging_goes_on(tiny_clip, caplog):
    load_clip(*map(str, tiny_clip))
    assert not caplog.records
    assert logging.root.manager.disable == logging.NOTSET
