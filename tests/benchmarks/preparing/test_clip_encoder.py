"""CLIP vectors are those that open_clip computes, whatever is encoded together."""

import numpy as np
import pytest
import torch
from PIL import Image

from itm_harness.benchmarks.preparing.clip import Pictures
from itm_harness.benchmarks.preparing.clip_encoder import CLIPEncoder, model_label
from itm_harness.benchmarks.preparing.sentences import Sentences
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.pictures.batch_size import BatchSize
from itm_tests.models import save_tiny_clip

TEXTS = ["A red dog waits near the beach .", "two men", "A RED dog, waits near the beach!", "word " * 40]


@pytest.fixture
def encoder(tiny_clip):
    return CLIPEncoder(*map(str, tiny_clip))


@pytest.fixture
def paths(tmp_path):
    """Pictures of several sizes and modes."""
    rng = np.random.default_rng(3)
    kinds = [("RGB", (40, 64), "jpg"), ("RGB", (80, 33), "png"), ("L", (32, 32), "png"), ("RGB", (16, 20), "jpg")]
    for i, (mode, size, ending) in enumerate(kinds):
        pixels = rng.integers(256, size=(3, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size).convert(mode).save(tmp_path / f"{i}.{ending}")
    return [tmp_path / f"{i}.{ending}" for i, (*_, ending) in enumerate(kinds)]


def test_pictures_and_texts_as_open_clip_encodes_each_of_them(encoder, direct, paths, monkeypatch):
    monkeypatch.setattr(encoder, "_batch", BatchSize(cpu=3, gpu=3))  # several batches, the last one not full
    model, transform, tokens = direct
    with torch.no_grad():
        shown = torch.cat([model.encode_image(transform(Image.open(path))[None]) for path in paths]).numpy()
        told = torch.cat([model.encode_text(tokens([text])) for text in TEXTS]).numpy()
    pictures, texts = encoder.encode_pictures(paths), encoder.encode(TEXTS)
    np.testing.assert_allclose(pictures, shown, atol=1e-5)
    np.testing.assert_allclose(texts, told, atol=1e-5)
    assert pictures.dtype == texts.dtype == np.float32
    assert pictures.shape == texts.shape == (4, encoder.width)
    for vectors in (pictures, texts):
        apart = np.abs(vectors[:, None] - vectors[None]).max(axis=-1) + np.eye(4)
        assert apart.min() > 1e-2  # so that another order would be seen
        assert np.abs(np.linalg.norm(vectors, axis=1) - 1).min() > 0.05  # raw


def test_nothing_to_encode(encoder):
    assert encoder.encode([]).shape == encoder.encode_pictures([]).shape == (0, 24)


def test_a_broken_picture_is_named(encoder, paths):
    paths[2].write_bytes(b"")
    with pytest.raises(DataError, match=r"2.png cannot be decoded"):
        encoder.encode_pictures(paths)


def test_its_name_holds_no_folder_and_its_state_follows_the_weights(encoder, tiny_clip, tmp_path):
    configuration, weights = tiny_clip
    assert (encoder.name, encoder.weights, encoder.fitted) == ("CLIP", "tiny-clip, tiny-0.safetensors", True)
    assert encoder.state == CLIPEncoder(str(configuration), str(weights)).state
    other = save_tiny_clip(tmp_path, seed=1)
    assert encoder.state != CLIPEncoder(str(configuration), str(other[1])).state
    quick = tmp_path / "quick.json"
    quick.write_text(configuration.read_text().replace("{", '{"quick_gelu": true, ', 1))
    assert encoder.state != CLIPEncoder(str(quick), str(weights)).state
    assert set(encoder.libraries) == {"torch", "open_clip_torch", "torchvision", "pillow"}


def test_steps_are_whole_batches_and_on_the_cpu_always_the_same(monkeypatch, tiny_clip):
    def steps(device, batch):
        monkeypatch.setattr(CLIPEncoder, "_device", torch.device(device))
        encoder = CLIPEncoder(*map(str, tiny_clip), batch)
        return Pictures([], encoder).step, Sentences([], encoder).step

    assert [steps("cpu", batch) for batch in (None, 3, 4096)] == [(256, 1024)] * 3
    assert [steps("cuda", batch) for batch in (None, 100, 4096)] == [(1024, 1024), (300, 1100), (4096, 4096)]


def test_its_revision_is_the_commit_in_the_hubs_cache(monkeypatch, tmp_path, encoder):
    assert encoder.revision == ""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert CLIPEncoder().revision == ""  # not there
    for repository in ("laion--CLIP-ViT-B-32-laion2B-s34B-b79K", "timm--vit_base_patch32_clip_224.openai"):
        cached = tmp_path / f"models--{repository}"
        snapshot = cached / "snapshots" / ("ab" * 20)
        for folder in (snapshot, cached / "refs"):
            folder.mkdir(parents=True)
        (cached / "refs" / "main").write_text(snapshot.name)
        (snapshot / "open_clip_model.safetensors").touch()
    assert CLIPEncoder().revision == CLIPEncoder(weights="openai").revision == snapshot.name
    assert CLIPEncoder(weights=str(snapshot / "open_clip_model.safetensors")).revision == snapshot.name


def test_a_models_name_fits_into_a_file_name():
    assert model_label("ViT-B-32") == "ViT-B-32"
    assert model_label("folder/my model*.json") == "my-model-"
    assert model_label("hf-hub:laion/CLIP [b]") == "hf-hub-laion-CLIP-b-"
