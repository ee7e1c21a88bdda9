"""CLIP on stored vectors: what zero-shot and the projections compute, and what their runs record."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from itm_harness.benchmarks.commands.app import app
from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods.base import Progress
from itm_harness.methods.clip import CLIP, CLIPConfig
from itm_harness.methods.errors import MethodError
from itm_tests.trees import write_f30k

WIDTH = 6


class Sizes:
    """Widths of the sidecars, as a data set tells them."""

    def __init__(self, images: int, texts: int) -> None:
        self.widths = {"clip_images": images, "clip_texts": texts}

    def size_of(self, sidecar: str) -> int:
        return self.widths[sidecar]


def vectors(seed: int, n: int = 4) -> torch.Tensor:
    return 10 * torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed))


def batch(image_ids: list[int], seed: int = 0) -> Batch:
    n = len(image_ids)
    ids = torch.tensor(image_ids)
    images = ImageBatch(ids, sidecars={"clip_images": vectors(seed, n)})
    return Batch(images, TextBatch(torch.arange(n), ids, sidecars={"clip_texts": vectors(seed + 1, n)}))


def test_zero_shot_is_the_cosine_of_the_stored_vectors():
    method = CLIP(CLIPConfig(embed_size=WIDTH))
    pairs = batch([0, 1, 2, 3])
    similarity = method.combine(method.score(method.encode_images(pairs.images), method.encode_texts(pairs.texts)))
    v, t = pairs.images.sidecars["clip_images"].numpy(), pairs.texts.sidecars["clip_texts"].numpy()
    cosine = [[a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for b in t] for a in v]
    np.testing.assert_allclose(similarity, cosine, atol=1e-6)
    assert not list(method.parameters())


def test_the_projections_begin_as_zero_shot():
    pairs = batch([0, 1, 2])
    plain, projected = (CLIP(CLIPConfig(embed_size=WIDTH, projection=p)) for p in (False, True))
    torch.testing.assert_close(projected.embed_images(pairs.images), plain.embed_images(pairs.images))
    torch.testing.assert_close(projected.embed_texts(pairs.texts), plain.embed_texts(pairs.texts))


def test_the_loss_is_the_mean_cross_entropy_of_both_directions_without_captions_of_the_same_image():
    method = CLIP(CLIPConfig(embed_size=WIDTH, projection=True, temperature=0.5))
    ids = [7, 8, 7]  # rows 0 and 2 show one image
    pairs = batch(ids)
    terms = method(pairs, Progress())
    v, t = (x.detach().double().numpy() for x in (method.embed_images(pairs.images), method.embed_texts(pairs.texts)))
    scores = v @ t.T / 0.5

    def direction(s: np.ndarray) -> float:
        costs = []
        for i in range(3):
            others = [j for j in range(3) if ids[j] != ids[i] or j == i]
            costs.append(-s[i, i] + np.log(sum(np.exp(s[i, j]) for j in others)))
        return float(np.mean(costs))

    assert terms["i2t"].item() == pytest.approx(direction(scores), abs=1e-5)
    assert terms["total"].item() == pytest.approx((direction(scores) + direction(scores.T)) / 2, abs=1e-5)


def test_the_scale_of_the_loss_is_learned_and_bounded():
    method = CLIP(CLIPConfig(embed_size=WIDTH, projection=True))
    with torch.no_grad():
        method.log_scale.fill_(50.0)
    assert method(batch([0, 1, 2]), Progress())["total"].isfinite()
    names = {group.name: group for group in method.parameter_groups()}
    assert names["temperature"].weight_decay == 0.0
    assert names["temperature"].parameters[0] is method.log_scale


def test_the_width_comes_from_the_data():
    assert CLIP.sized(CLIPConfig(), Sizes(512, 512)).embed_size == 512
    with pytest.raises(MethodError, match="512 numbers, those of the captions 768"):
        CLIP.sized(CLIPConfig(), Sizes(512, 768))
    with pytest.raises(MethodError, match="embed_size=64, but the CLIP vectors have 512"):
        CLIP.sized(CLIPConfig(embed_size=64), Sizes(512, 512))


def run_clip(tmp_path: Path, *arguments: str) -> list[dict]:
    command = ["run", "--method", "clip", "--dataset", "f30k", "--data-root", str(tmp_path / "data")]
    done = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "out"), "--device", "cpu", *arguments])
    assert done.exit_code == 0, done.output
    records = (tmp_path / "out" / "results" / "local" / "records").glob("*.json")
    return [json.loads(path.read_text()) for path in sorted(records)]


def test_a_zero_shot_run_trains_nothing_selects_nothing_and_is_filed_once_for_all_seeds(tmp_path: Path):
    write_f30k(tmp_path / "data", vectors=WIDTH)
    (record,) = run_clip(tmp_path, "--seeds", "0,1,2")
    assert (record["seed"], record["selection"], record["steps"], record["parameters"]) == (None, "none", 0, 0)
    assert record["text"] == "CLIP"
    assert "extra_pretraining" in record["flags"]
    assert "--seeds" not in record["command"]


def test_the_projections_train_and_are_filed_per_seed(tmp_path: Path):
    write_f30k(tmp_path / "data", vectors=WIDTH)
    small = ("--variant", "projection", "--set", "train.batch_size=8", "--epochs", "2")
    records = run_clip(tmp_path, *small, "--seeds", "0,1")
    assert [r["seed"] for r in records] == [0, 1]
    assert all(r["steps"] == 14 and r["parameters"] == 2 * WIDTH**2 + 1 and r["selection"] == "dev" for r in records)
