"""One method measured: training steps, evaluation, memory, and shares of what the device can do."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from itm_harness.benchmarks.bench.gallery import GalleryTimes, time_gallery
from itm_harness.benchmarks.bench.rates import copy_rate, matrix_rate
from itm_harness.benchmarks.bench.record import BenchRecord, GalleryRecord, StepTimes
from itm_harness.benchmarks.bench.references.batches import reference_batch
from itm_harness.benchmarks.bench.shapes import SHAPES
from itm_harness.benchmarks.bench.steps import (
    Forward,
    Stepper,
    method_forward,
    phase_seconds,
    seconds_per_step,
    step_operations,
)
from itm_harness.benchmarks.bench.synthetic import SyntheticSizes, synthetic_split
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records import provenance
from itm_harness.benchmarks.training.compilation import compile_encoders
from itm_harness.benchmarks.training.optimiser import build_optimizer
from itm_harness.datasets.augment import Augmentation
from itm_harness.datasets.batch import Batch
from itm_harness.datasets.draws import Draws
from itm_harness.datasets.loader import epoch_batches
from itm_harness.datasets.split import Split
from itm_harness.methods.base import Method, Progress
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.recipe import Recipe
from itm_harness.methods.registry import Entry, find_method, method_names

VARIANTS = {"clip": "projection", "vsd": "gpo-dagger"}  # that train; of other methods the first
BERT = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}  # base
ADAM_BYTES = 7 * 4  # per parameter: weight, gradient and two moments read, weight and moments written, float32
WARM_UP = {"cpu": 2, "cuda": 10}  # steps before the clock: a GPU's libraries load, its memory grows, code compiles
STEPS = {"cpu": 4, "cuda": 50}  # on the clock
PLAIN_STEPS = {"cpu": 4, "cuda": 10}


@dataclass(frozen=True)
class BenchOptions:
    """What is measured, and how long.

    text: recipe = the method's own encoder. steps, batch, images: None = for the device: on a GPU 50 steps, the
    recipe's batch and the images of the data set's test split, on a CPU 4 steps, 8 pairs and 20 images. plain: measure
    the plain path too. beside: what else runs on the machine.
    """

    dataset: str = "f30k"
    text: Literal["recipe", "bert", "bigru"] = "recipe"
    device: str = "cpu"
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    steps: int | None = None
    batch: int | None = None
    images: int | None = None
    plain: bool = True
    beside: str = ""

    def __post_init__(self) -> None:
        """Raises RunError on a value that is not known."""
        for name, value, known in (
            ("dataset", self.dataset, tuple(SHAPES)),
            ("text", self.text, ("recipe", "bert", "bigru")),
            ("precision", self.precision, ("fp32", "bf16")),
        ):
            if value not in known:
                raise RunError(f"--{name} {value} is not known to bench; use {', '.join(known)}.")
        kind, _, index = self.device.partition(":")
        if kind not in ("cpu", "cuda") or not (index or "0").isdecimal():
            raise RunError(f"--device {self.device} is not known to bench; use cpu, cuda or cuda:N.")
        if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
            raise RunError(f"--device {self.device}: there is no such CUDA device here; use --device cpu.")


def chosen_methods(text: str) -> list[str]:
    """The methods of a list with commas; empty: all."""
    return [name.strip() for name in text.split(",") if name.strip()] or method_names()


def measure(name: str, options: BenchOptions) -> BenchRecord:
    """Measure one method. Raises MethodError or RunError where it, or an option, is not known."""
    device = torch.device(options.device)
    entry = find_method(name, VARIANTS.get(name))
    recipe = _recipe(entry, VARIANTS.get(name), options)
    shape = SHAPES[options.dataset]
    config = entry.method.sized(recipe.config, SyntheticSizes(shape))
    on_gpu, bf16 = device.type == "cuda", options.precision == "bf16"
    batch = options.batch or (recipe.train.batch_size if on_gpu else 8)
    steps, warm_up = options.steps or STEPS[device.type], WARM_UP[device.type]
    inputs = entry.method.bare(config).inputs()
    split = synthetic_split(options.dataset, inputs, options.images or (shape.test_images if on_gpu else 20))
    if batch > split.n_texts:
        raise RunError(f"a batch of {batch} needs more than {split.n_images} images; raise --images, or lower --batch.")
    held = _held(split, options.dataset, inputs, device, bf16)
    torch.manual_seed(0)
    method = entry.method(config).to(device)
    _fill_prototypes(method)
    if options.compile:
        compile_encoders(method)
    matrix, copy = matrix_rate(device, torch.bfloat16 if bf16 else torch.float32), copy_rate(device)
    setting = _Setting(method, recipe, held, split, device, bf16, batch, steps, warm_up, matrix, copy)
    forget_peak(device)
    times, peak = [setting.fast(phases) for phases in setting.phase_sets()], peak_bytes(device)
    if options.plain:
        times = [one.model_copy(update={"plain_milliseconds": 1000 * setting.plain(one.phases)}) for one in times]
    gallery = time_gallery(method, held, device, bf16, options.plain)
    return BenchRecord(
        method=entry.name,
        variant=recipe.variant,
        dataset=options.dataset,
        text=entry.method.text_label(config),
        embed_size=getattr(config, "embed_size", None) or getattr(getattr(config, "host", None), "embed_size", None),
        precision=options.precision,
        compiled=options.compile,
        features=_told(held),
        batch=batch,
        recipe_batch=recipe.train.batch_size,
        steps=steps,
        warm_up=warm_up,
        step_times=times,
        gallery=GalleryRecord(**asdict(gallery)),
        peak_bytes=peak,
        matrix_rate=matrix,
        copy_rate=copy,
        recipe_epochs=recipe.train.epochs,
        recipe_hours=_recipe_seconds(recipe, times, gallery, options.dataset) / 3600 if times else None,
        parameters=sum(p.numel() for group in method.parameter_groups() for p in group.parameters),
        threads=torch.get_num_threads(),
        hardware=provenance.hardware(device),
        versions=provenance.versions(),
        code=provenance.git_revision(),
        created=datetime.now(UTC).replace(microsecond=0),
        beside=options.beside,
    )


def _recipe(entry: Entry, variant: str | None, options: BenchOptions) -> Recipe:
    """The method's recipe for the data set, with a text encoder of random weights."""
    recipe = resolve_entry(entry, options.dataset, variant)
    bert = options.text == "bert" or (options.text == "recipe" and recipe.config.text.bert is not None)
    overrides: dict[str, Any] = {"text.bert": "bert-base-uncased", "text.bert_sizes": BERT}
    return resolve_entry(entry, options.dataset, variant, overrides if bert else {"text.bert": None})


def _held(split: Split, dataset: str, inputs: Any, device: torch.device, bf16: bool) -> Split:
    """The same split with its features on the device."""
    held = synthetic_split(dataset, inputs, split.n_images)
    if held.regions is not None:
        if bf16:
            held.round_regions(torch.bfloat16)
        held.hold_regions(device)
    return held


def _told(held: Split) -> str:
    if held.regions is None:
        return "none"
    values = held.regions.values
    return f"{values.dtype} on {values.device.type}".removeprefix("torch.")


def _fill_prototypes(method: Method) -> None:
    """Random ones in the place of those that `fit` would find: that takes minutes and is no part of a step."""
    prototypes = dict(method.named_buffers()).get("prototypes")
    if prototypes is not None:
        prototypes.normal_()


@dataclass(frozen=True)
class _Setting:
    """A method ready to be timed. held: for the fast path, mapped: for the plain one."""

    method: Method
    recipe: Recipe
    held: Split
    mapped: Split
    device: torch.device
    bf16: bool
    batch: int
    steps: int
    warm_up: int
    matrix_rate: float
    copy_rate: float

    def phase_sets(self) -> list[tuple[str, ...]]:
        """Before any phase has begun, and after all have; nothing where nothing is trained."""
        if not any(group.parameters for group in self.method.parameter_groups()):
            return []
        phases = tuple(self.recipe.phases)
        late = [name for name in phases if self.recipe.phases[name].first_step(1, self.recipe.train.epochs) > 0]
        return [tuple(name for name in phases if name not in late), phases] if late else [phases]

    def fast(self, phases: tuple[str, ...]) -> StepTimes:
        """Times of the path that training takes."""
        stepper = self._stepper(phases, build_optimizer(self.method, self.recipe.optim), self.bf16, method_forward)
        seconds = seconds_per_step(stepper, self._endless(), self.steps, self.warm_up)
        parts = phase_seconds(stepper, lambda number: self._pairs(self.warm_up + number), self.steps)
        operations = step_operations(stepper, self._pairs(0))
        trained = sum(p.numel() for group in stepper.optimizer.param_groups for p in group["params"])
        return StepTimes(
            phases=phases,
            milliseconds=1000 * seconds,
            samples_per_second=self.batch / seconds,
            phase_milliseconds={name: 1000 * value for name, value in parts.items()},
            operations=operations,
            matrix_share=operations / seconds / self.matrix_rate,
            optimiser_copy_share=ADAM_BYTES * trained / parts["optimiser"] / self.copy_rate,
        )

    def plain(self, phases: tuple[str, ...]) -> float:
        """Seconds of a plain step: float32, pairs read singly, one parameter after the other, the slow form if any."""
        kind = type(build_optimizer(self.method, self.recipe.optim))
        groups = build_optimizer(self.method, self.recipe.optim).param_groups
        optimizer = kind([{"params": g["params"], "lr": g["lr"]} for g in groups], foreach=False, fused=False)
        stepper = self._stepper(phases, optimizer, False, reference_forward(self.method))
        return seconds_per_step(stepper, self._one_by_one(), PLAIN_STEPS[self.device.type], self.warm_up)

    def _stepper(
        self, phases: tuple[str, ...], optimizer: torch.optim.Optimizer, bf16: bool, forward: Forward
    ) -> Stepper:
        clip, progress = self.recipe.optim.grad_clip, Progress(phases=frozenset(phases))
        return Stepper(self.method, optimizer, self.device, bf16, clip, progress, forward)

    @property
    def _augmentation(self) -> Augmentation:
        return Augmentation(self.recipe.augment.regions, self.recipe.augment.words)

    def _order(self, epoch: int) -> np.ndarray:
        """Captions of an epoch: the same for every path, since a step takes as long as its longest caption."""
        return np.random.default_rng(epoch).permutation(self.held.n_texts)

    def _endless(self) -> Iterator[Batch]:
        """Batches as the engine gets them, one epoch after the other."""
        for epoch in count():
            yield from epoch_batches(
                self.held, batch_size=self.batch, seed=0, epoch=epoch, augmentation=self._augmentation,
                sort_by_length=self.recipe.train.sort_by_length, order=self._order(epoch),
                pin=self.device.type == "cuda",
            )  # fmt: skip

    def _pairs(self, number: int) -> Batch:
        """One of these batches, by its number; those of the first epoch over and over."""
        batch = self.held.pairs(
            self._texts(0, number), self._augmentation, Draws(0, 0), self.recipe.train.sort_by_length
        )
        return batch.pin() if self.device.type == "cuda" else batch

    def _one_by_one(self) -> Iterator[Batch]:
        """The batches of `_endless`, of pairs that are read singly."""
        for epoch in count():
            for step in range(self._steps_per_epoch):
                yield reference_batch(
                    self.mapped, self._texts(epoch, step), self._augmentation, Draws(0, epoch),
                    self.recipe.train.sort_by_length,
                )  # fmt: skip

    @property
    def _steps_per_epoch(self) -> int:
        return self.held.n_texts // self.batch

    def _texts(self, epoch: int, step: int) -> np.ndarray:
        first = step % self._steps_per_epoch * self.batch
        return self._order(epoch)[first : first + self.batch]


def reference_forward(method: Method) -> Forward:
    """The slow and obvious form of a method where there is one, else its own."""
    name = f"itm_harness.benchmarks.bench.references.{method.name}"
    if importlib.util.find_spec(name) is None:
        return method_forward
    return importlib.import_module(name).reference_forward


def _recipe_seconds(recipe: Recipe, times: list[StepTimes], gallery: GalleryTimes, dataset: str) -> float:
    """All steps of the recipe at the measured pairs per second, and a dev evaluation per epoch."""
    shape, epochs = SHAPES[dataset], recipe.train.epochs
    steps = shape.train_texts // recipe.train.batch_size
    begins = [begin.first_step(steps, epochs) for begin in recipe.phases.values()]
    early = min(1.0, max(begins, default=0) / (steps * epochs)) if len(times) > 1 else 0.0
    seconds_per_pair = early / times[0].samples_per_second + (1 - early) / times[-1].samples_per_second
    encode = gallery.encode_seconds * shape.dev_images / gallery.images
    score = (gallery.score_seconds + gallery.rank_seconds) * (shape.dev_images / gallery.images) ** 2
    return epochs * (shape.train_texts * seconds_per_pair + encode + score)


def forget_peak(device: torch.device) -> None:
    """Let the peak start again from the present size."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):  # Linux
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int | None:
    """Of the GPU, or resident with the libraries; None where the system does not tell it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
