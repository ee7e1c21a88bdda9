"""Small trainings in float64 that are the same wherever they run: every method, all phases, nothing drawn."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.console import Console

from itm_harness.benchmarks.protocol.evaluate import encode_gallery
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.training.engine import Trainer, make_accelerator
from itm_harness.methods.losses.triplet import largest_weights

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


def train(name: str, root: Path, folder: Path, accelerator: Accelerator | None = None) -> dict:
    """Losses of all steps, state and encodings of the test split after a training of 20 steps; on the CPU.

    accelerator: None = the CPU's.
    """
    method_name, variant, overrides = RUNS[name]
    overrides = {**COMMON, **overrides}
    if method_name == "clip":
        overrides = {key: value for key, value in overrides.items() if not key.startswith("text.")}
    job = Job(RunOptions(method_name, "f30k", root, variant, overrides))
    torch.manual_seed(0)
    method, accelerator = in_float64(job.kind)(job.config), accelerator or make_accelerator("cpu", "fp32")
    quiet = Console(file=io.StringIO())
    method.fit(job.split("train"))
    trainer = Trainer(method, job.recipe, job.split("train"), None, folder / name, 0, accelerator, quiet, {})
    trainer.run()
    images, texts = encode_gallery(method, job.split("test"), 64, accelerator.device)
    tensors = {
        f"{side}.{key}": (value if isinstance(value, torch.Tensor) else value.values).cpu()
        for side, encoded in (("image", images), ("text", texts))
        for key, value in encoded.tensors.items()
    }
    state = {name: value.cpu() for name, value in method.state_dict().items()}
    return {"losses": method.losses, "encodings": tensors, "state": state}
