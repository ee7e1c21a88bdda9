"""Two processes with half of a batch each train like one process with the whole: every method, with the engine."""

from __future__ import annotations

import io
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from benchmarks.engine import Trainer, make_accelerator
from benchmarks.evaluate import encode_gallery
from benchmarks.job import Job, RunOptions
from methods.triplet import largest_weights
from tests.trees import write_f30k

ROOT = Path(__file__).parents[1]
STEPS = 20
COMMON = {"text.bert": None, "text.word_dim": 6, "train.batch_size": 8, "train.epochs": 2, "train.select": "last"}
FIRST, SIXTH = {"step": 1}, {"step": 6}
RUNS = {  # name: method, variant, what differs from its recipe: small, without dropout, all phases within 20 steps
    "gpo": ("gpo", None, {"embed_size": 16, "phases.max_violation": FIRST, "train.sort_by_length": True}),
    "gsmn": (
        "gsmn",
        "dense",
        {"embed_size": 16, "num_blocks": 4, "phases.max_violation": SIXTH, "train.drop_last": False},
    ),
    "hrem": (
        "hrem",
        "fusion",
        {"embed_size": 16, "heads": 4, "dropout": 0.0, "phases.graph": SIXTH, "train.sampler": "neighbour"},
    ),
    "aahr": (
        "aahr",
        None,
        {"embed_size": 16, "heads": 4, "pool_heads": 2, "dropout": 0.0, "convolution_dropout": 0.0, "prototypes": 6}
        | {"queue_length": 20, "phases.prototypes": FIRST, "phases.graph": SIXTH, "augment.regions": 0.5},
    ),
    "vsd": ("vsd", "gpo-star", {"host.embed_size": 16, "prototypes": 5}),
    "vssr": ("vssr", None, {"embed_size": 16, "heads": 4, "graph_dropout": 0.0}),
    "clip": ("clip", "projection", {}),
}


def in_float64(kind):
    """The method with its inputs in float64, its losses noted, and the likeliest negatives in the place of chance."""

    class Double(kind):
        def __init__(self, config):
            super().__init__(config)
            self.losses = []
            for module in self.modules():
                if hasattr(module, "choose"):
                    module.choose = largest_weights
            self.double()

        def features(self, batch):
            return super().features(double(batch))

        def forward(self, batch, progress):
            terms = super().forward(batch, progress)
            self.losses.append({name: float(value.detach()) for name, value in terms.items()})
            return terms

        def encode_images(self, images):
            return super().encode_images(double(images))

        def encode_texts(self, texts):
            return super().encode_texts(double(texts))

    return Double


def double(value):
    if isinstance(value, torch.Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {name: double(item) for name, item in value.items()}
    return replace(value, **{name: double(item) for name, item in vars(value).items() if item is not None})


def train(name: str, root: Path, folder: Path) -> dict:
    """Losses of all steps, state and encodings of the test split after a training of 20 steps."""
    method_name, variant, overrides = RUNS[name]
    overrides = {**COMMON, **overrides}
    if method_name == "clip":
        overrides = {key: value for key, value in overrides.items() if not key.startswith("text.")}
    job = Job(RunOptions(method_name, "f30k", root, variant, overrides))
    torch.manual_seed(0)
    method, accelerator = in_float64(job.kind)(job.config), make_accelerator("cpu", "fp32")
    quiet = Console(file=io.StringIO())
    trainer = Trainer(method, job.recipe, job.split("train"), None, folder / name, 0, accelerator, quiet, {})
    method.fit(job.split("train"))
    trainer.run()
    images, texts = encode_gallery(method, job.split("test"), 64, accelerator.device)
    tensors = {
        f"{side}.{key}": value if isinstance(value, torch.Tensor) else value.values
        for side, encoded in (("image", images), ("text", texts))
        for key, value in encoded.tensors.items()
    }
    return {"losses": method.losses, "encodings": tensors, "state": method.state_dict()}


def one_of_two(process: int, port: int, root: Path, folder: Path) -> None:
    """What torchrun starts, without its launcher."""
    os.environ |= {"RANK": str(process), "LOCAL_RANK": str(process), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    for name in RUNS:
        torch.save(train(name, root, folder / "two"), folder / f"{name}-{process}.pt")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(one process, first of two, second of two) by name."""
    folder = tmp_path_factory.mktemp("distributed")
    root = folder / "data"
    write_f30k(root, images=17, vectors=16)  # 85 captions: where the last batch is kept it has five, two and three
    two = torch.multiprocessing.spawn(one_of_two, (free_port(), root, folder), nprocs=2, join=False)
    alone = {name: train(name, root, folder / "one") for name in RUNS}
    while not two.join():
        pass
    return {name: (alone[name], *(torch.load(folder / f"{name}-{process}.pt") for process in (0, 1))) for name in RUNS}


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_like_one(trained, name):
    one, *two = trained[name]
    assert len(one["losses"]) >= STEPS
    for process in two:
        assert process["losses"][0] == pytest.approx(one["losses"][0], rel=1e-6)
        assert [terms["total"] for terms in process["losses"]] == pytest.approx(
            [terms["total"] for terms in one["losses"]], rel=1e-3
        )
        for key, values in one["encodings"].items():
            torch.testing.assert_close(process["encodings"][key], values, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", RUNS)
def test_all_processes_hold_the_same_weights_statistics_and_queues(trained, name):
    _, first, second = trained[name]
    for key, values in first["state"].items():
        assert torch.equal(values, second["state"][key]), key
