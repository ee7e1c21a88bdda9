"""CLIP fine-tuned on pictures, alone and under VSD: the vectors of open_clip, its groups, runs from files alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from itm_harness.benchmarks.commands.app import app
from itm_harness.benchmarks.runs.job import portable
from itm_harness.datasets.batch import Batch, ImageBatch, Inputs, Pixels, TextBatch
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import open_split
from itm_harness.datasets.text.tokens import CLIPTokenizer
from itm_harness.methods.base import Progress
from itm_harness.methods.clip import CLIP, CLIPConfig
from itm_harness.methods.encoders.clip_tower import TowerConfig, tower_width
from itm_harness.methods.errors import MethodError
from itm_tests.trees import write_f30k, write_pictures

TEXTS = ["A red dog waits near the beach .", "two men", "word " * 40]


@pytest.fixture(scope="module")
def config(tiny_clip):
    return CLIPConfig(embed_size=24, tower=TowerConfig(model=str(tiny_clip[0]), weights=str(tiny_clip[1]), side=32))


@pytest.fixture
def folder(tmp_path):
    folder = write_f30k(tmp_path, 6, vectors=30)
    write_pictures(folder, "train")  # the splits have the same ids
    return folder


def tokens_of(texts, model) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = CLIPTokenizer(model).encode(texts)
    return torch.from_numpy(tokens.padded()), torch.from_numpy(tokens.lengths)


def test_tokens_are_open_clips_without_the_padding(tiny_clip, direct):
    words, lengths = tokens_of(TEXTS, str(tiny_clip[0]))
    expected = direct[2](TEXTS)
    assert lengths.tolist() == [10, 4, 16]  # the last one is cut
    assert torch.equal(torch.nn.functional.pad(words, (0, 16 - words.shape[1])), expected)


@torch.no_grad()
def test_vectors_are_open_clips(config, direct, tmp_path):
    model, transform, tokenizer = direct
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8)) for _ in range(3)]
    pixels = torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in pictures])
    method = CLIP(config).eval()
    shown = method.embed_images(ImageBatch(torch.arange(3), pixels=pixels))
    told = method.embed_texts(TextBatch(torch.arange(3), torch.arange(3), *tokens_of(TEXTS, config.tower.model)))
    expected = model.encode_image(torch.stack([transform(p) for p in pictures]), normalize=True)
    torch.testing.assert_close(shown, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(told, model.encode_text(tokenizer(TEXTS), normalize=True), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_pictures_of_a_data_set_are_nearly_as_open_clip_transforms_them(config, direct, folder):
    """It resizes first and cuts the square then, which rounds in other places."""
    split = open_split(open_dataset("f30k", folder.parent.parent), "test", CLIP.bare(config).inputs())
    vectors = CLIP(config).eval().embed_images(split.images(range(6)))
    model, transform, _ = direct
    shown = torch.stack([transform(Image.open(path).convert("RGB")) for path in split.pictures.paths])
    cosines = (vectors * model.encode_image(shown, normalize=True)).sum(dim=1)
    assert cosines.min() > 0.9
    assert cosines.mean() > 0.97


def test_every_parameter_is_trained_and_the_small_ones_do_not_decay(config):
    method = CLIP(config)
    ids = torch.arange(3)
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    texts = TextBatch(ids, ids, *tokens_of(TEXTS, config.tower.model))
    method(Batch(ImageBatch(ids, pixels=pixels), texts), Progress())["total"].backward()
    groups = {group.name: group for group in method.parameter_groups()}
    assert {id(p) for g in groups.values() for p in g.parameters} == {id(p) for p in method.parameters()}
    assert all(p.grad is not None for p in method.parameters())
    assert method.tower.log_scale in set(groups["tower's gains"].parameters)
    assert groups["tower's gains"].weight_decay == 0
    assert CLIP.trains(config)


def test_what_is_read_and_shown(config):
    inputs = CLIP.bare(config).inputs()
    assert (inputs.regions, inputs.image_sidecars) == (False, ())
    assert inputs.pixels == Pixels(32, square=True, crop=0.9, bicubic=True)
    assert CLIP.features_label(config, "BUTD region") == "pictures, CLIP tiny-clip"
    assert tower_width(config.tower) == 24
    assert isinstance(inputs, Inputs)


def test_pictures_that_are_not_the_models(config):
    with pytest.raises(MethodError, match=r"reads pictures of 32 pixels; --set tower.side=32 --set tower.squash=false"):
        CLIP(config.model_copy(update={"tower": config.tower.model_copy(update={"side": 64})}))


@pytest.mark.parametrize(
    ("method", "variant", "prefix", "features"),
    [
        ("clip", "finetune", "", "pictures, CLIP tiny-clip"),
        ("vsd", "clip-finetune-star", "host.", "pictures, CLIP tiny-clip + descriptions"),
    ],
)
def test_a_run_on_pictures(folder, tiny_clip, tmp_path, method, variant, prefix, features):
    values = {"tower.model": tiny_clip[0], "tower.weights": tiny_clip[1], "tower.side": 32}
    settings = [f"--set={prefix}{name}={value}" for name, value in values.items()]
    settings += ["--set=train.batch_size=10", "--epochs=1", "--device=cpu"]
    settings += ["--set=prototypes=4"] if method == "vsd" else []
    command = ["run", "--method", method, "--variant", variant, "--dataset", "f30k", *settings]
    done = CliRunner().invoke(app, [*command, "--data-root", str(folder.parent.parent), "--output", str(tmp_path)])
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "results" / "local" / "records").glob("*.json")
    record = json.loads(path.read_text())
    assert record["features"] == features
    assert str(tmp_path) not in path.read_text()
    (best,) = (tmp_path / "runs").glob("*/best.safetensors")
    trained, first = load_file(best), load_file(tiny_clip[1])
    assert not torch.equal(trained[f"{prefix}tower.clip.visual.proj"], first["visual.proj"])


def test_records_name_files_by_their_last_part(tiny_clip):
    weights = str(tiny_clip[1])
    name = Path(weights).name
    assert portable({"tower": {"weights": weights}}) == {"tower": {"weights": name}}
    assert portable({"host": {"tower": {"weights": weights}}}) == {"host": {"tower": {"weights": name}}}
    assert portable({"host.tower.weights": weights}) == {"host.tower.weights": name}
    assert portable({"grid": {"weights": weights}, "text.bert": None}) == {"grid": {"weights": name}, "text.bert": None}
    assert portable({"weights": weights}) == {"weights": weights}
