"""Time per training step: our fast path beside the plain reference, in one process on the same batch (`bench`)."""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.errors import RunError
from benchmarks.optimiser import build_optimizer
from datasets.batch import Batch, ImageBatch, TextBatch
from methods.base import Method, Progress, Terms
from methods.hosting import resolve_entry
from methods.recipe import Recipe, nearest
from methods.registry import find_method

REGIONS, REGION_DIM, WORDS, VOCABULARY = 36, 2048, 20, 8000
BATCH = {"gsmn": 64, "hrem": 128}  # the batch sizes of their recipes for f30k
Forward = Callable[[Method, Batch, Progress], Terms]


@dataclass(frozen=True)
class Timing:
    """Milliseconds per training step (forward, backward, optimiser); reference: None where it was not asked for.

    fast_bytes: peak resident memory of the process during the fast path, libraries included; None where the system
    does not tell it.
    """

    method: str
    phase: str
    batch: int
    fast: float
    fast_bytes: int | None
    reference: float | None


def bench(names: list[str], steps: int, reference: bool, embed_size: int = 1024) -> list[Timing]:
    """Timings of each method, before and after each of its phases begins. Raises RunError on an unknown method."""
    for name in names:
        if name not in BATCH:
            raise RunError(f"bench has no entry for '{name}'{nearest(name, list(BATCH))}; it knows {', '.join(BATCH)}.")
    return [timing for name in names for timing in _bench_method(name, steps, reference, embed_size)]


def _bench_method(name: str, steps: int, reference: bool, embed_size: int) -> list[Timing]:
    entry = find_method(name)
    overrides = {"text.bert": None, "text.vocabulary_size": VOCABULARY, "region_dim": REGION_DIM}
    recipe = resolve_entry(entry, "f30k", None, {**overrides, "embed_size": embed_size})
    slow: Forward = importlib.import_module(f"benchmarks.references.{name}").reference_forward
    timings = []
    for phases in (frozenset(), frozenset(entry.method.phases)):
        progress = Progress(phases=phases)
        _forget_peak()
        fast_ms = _step_milliseconds(entry.method, recipe, lambda m, b, p: m(b, p), progress, BATCH[name], steps)
        fast_bytes = _peak_resident()
        slow_ms = _step_milliseconds(entry.method, recipe, slow, progress, BATCH[name], 1) if reference else None
        timings.append(
            Timing(name, "all phases" if phases else "before any phase", BATCH[name], fast_ms, fast_bytes, slow_ms)
        )
    return timings


def _step_milliseconds(
    kind: type[Method], recipe: Recipe, forward: Forward, progress: Progress, size: int, steps: int
) -> float:
    """Mean over `steps`, after one step that is not counted."""
    torch.manual_seed(0)
    method = kind(recipe.config)
    optimizer, batch = build_optimizer(method, recipe.optim), random_batch(size)
    began = 0.0
    for step in range(steps + 1):
        if step == 1:
            began = time.perf_counter()
        forward(method, batch, progress)["total"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return 1000 * (time.perf_counter() - began) / steps


def _forget_peak() -> None:
    """Let the peak start again from the present size (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_resident() -> int | None:
    """Bytes; None where there is no /proc."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * int(kilobytes)


def random_batch(size: int) -> Batch:
    """`size` pairs of random regions with boxes and captions of WORDS words, no image twice."""
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(size, REGIONS, 2, 2, generator=generator).sort(dim=2).values
    images = ImageBatch(
        ids=torch.arange(size),
        regions=torch.randn(size, REGIONS, REGION_DIM, generator=generator),
        lengths=torch.full((size,), REGIONS),
        sidecars={"boxes": corners.flatten(2)},
    )
    words = torch.randint(4, VOCABULARY, (size, WORDS), generator=generator)
    texts = TextBatch(torch.arange(size), torch.arange(size), words, torch.full((size,), WORDS))
    return Batch(images, texts)
