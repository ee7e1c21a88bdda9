"""Training steps under the clock: the loop of the engine without its bookkeeping, phase by phase or as it runs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, islice

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.utils.flop_counter import FlopCounterMode

from itm_harness.benchmarks.bench.rates import synchronise
from itm_harness.datasets.batch import Batch
from itm_harness.methods.base import Method, Progress, Terms

PHASES = ("data", "encode", "loss", "backward", "optimiser")
Forward = Callable[[Method, Batch, Progress], Terms]


def method_forward(method: Method, batch: Batch, progress: Progress) -> Terms:
    """The method's own."""
    return method(batch, progress)


@dataclass
class Stopwatch:
    """Seconds by what they were spent on; waits for the device at both ends of each."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Add the time of the block to `what`."""
        synchronise(self.device)
        began = time.perf_counter()
        yield
        synchronise(self.device)
        self.seconds[what] += time.perf_counter() - began


@dataclass(frozen=True)
class Stepper:
    """A method in training. bf16: features under autocast. forward: its own, or the slow reference's."""

    method: Method
    optimizer: torch.optim.Optimizer
    device: torch.device
    bf16: bool
    grad_clip: float
    progress: Progress
    forward: Forward = method_forward

    def loss(self, batch: Batch) -> Tensor:
        """The total of a batch on the device."""
        self.method.before_step(self.progress)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return self.forward(self.method, batch, self.progress)["total"]

    def update(self, total: Tensor) -> None:
        """Clip, step unless something is not finite, forget the gradients."""
        norm = clip_grad_norm_(self.method.parameters(), self.grad_clip)
        if self.optimizer.defaults.get("fused"):
            self.optimizer.found_inf = (~(total.detach().isfinite() & norm.isfinite())).float()
            self.optimizer.step()
        elif total.isfinite() and norm.isfinite():
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.method.after_step(self.progress)

    def step(self, batch: Batch) -> None:
        """One training step."""
        total = self.loss(batch)
        total.backward()
        self.update(total)


def seconds_per_step(stepper: Stepper, batches: Iterator[Batch], steps: int, warm_up: int) -> float:
    """Mean over `steps` as training runs them, after `warm_up` that are not counted; batches are read meanwhile."""
    stepper.method.train()
    for batch in islice(batches, warm_up):
        stepper.step(batch.to(stepper.device))
    synchronise(stepper.device)
    began = time.perf_counter()
    for batch in islice(batches, steps):
        stepper.step(batch.to(stepper.device))
    synchronise(stepper.device)
    return (time.perf_counter() - began) / steps


def phase_seconds(stepper: Stepper, make_batch: Callable[[int], Batch], steps: int) -> dict[str, float]:
    """Mean seconds of each phase of a step, each waited for: their sum is more than a step in training takes.

    make_batch: a batch by its number.
    """
    watch, method = Stopwatch(stepper.device), stepper.method
    method.train()
    features = method.features

    def timed(batch: Batch) -> Terms:
        with watch.of("encode"):
            return features(batch)

    method.features = timed
    try:
        for number in islice(count(), steps):
            with watch.of("data"):
                batch = make_batch(number).to(stepper.device)
            with watch.of("forward"):
                total = stepper.loss(batch)
            with watch.of("backward"):
                total.backward()
            with watch.of("optimiser"):
                stepper.update(total)
    finally:
        del method.features
    found = watch.seconds
    found["loss"] = found.pop("forward") - found["encode"]
    return {phase: found[phase] / steps for phase in PHASES}


def step_operations(stepper: Stepper, batch: Batch) -> int:
    """Floating-point operations of the matrix products of a step, forward and backward."""
    counter = FlopCounterMode(display=False)
    with counter:
        stepper.step(batch.to(stepper.device))
    return counter.get_total_flops()
