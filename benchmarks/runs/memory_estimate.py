"""How much memory a training will need, before it begins (`run --dry-run`)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from itm_harness.benchmarks.protocol.evaluate import fits
from itm_harness.benchmarks.protocol.pair_scores import IMAGE_CHUNK, TEXT_CHUNK
from itm_harness.benchmarks.runs.job import Job
from itm_harness.datasets.split import Split
from itm_harness.methods.base import Method, Progress

FEW, MORE = 4, 8  # pairs in the two small batches that are measured


def expected_memory(job: Job) -> dict[str, int]:
    """Bytes by what needs them: weights with gradients and optimiser state, activations, a batch, the test matrix.

    Activations are measured on two small batches of real data and extrapolated, with a term that grows with the square
    of the batch for methods that compare all its pairs. Where nothing is trained, the weights and the matrix are all.
    """
    method = job.build(seed=0)
    weights = _bytes(method.parameters())
    trained = _bytes(p for group in method.parameter_groups() for p in group.parameters)
    size = job.recipe.train.batch_size
    test = job.split("test")
    if not job.trains:
        return {"weights": weights, **_similarities(test)}
    return {
        "weights, gradients, optimiser": weights + 3 * trained,  # Adam keeps two moments
        "the copy that is written as a checkpoint, in host memory": weights + 2 * trained,
        f"activations of {size} pairs": _activations(method, job, size),
        "a batch": size * _batch_bytes(job) // MORE,
        **_similarities(test),
    }


def _similarities(test: Split) -> dict[str, int]:
    """Bytes of the whole matrix, or of a block of it where it is streamed."""
    if fits(test, torch.device("cpu")):
        return {"test similarities": 4 * test.n_images * test.n_texts}
    return {"a block of the test similarities (together they would not fit)": 4 * IMAGE_CHUNK * TEXT_CHUNK}


def _bytes(parameters: Iterable[Tensor]) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


def _activations(method: Method, job: Job, size: int) -> int:
    few, more = (_saved_bytes(method, job, pairs) for pairs in (FEW, MORE))
    square = max(0.0, (more - few * MORE / FEW) / (MORE**2 - FEW * MORE))  # bytes = linear·B + square·B²
    linear = few / FEW - square * FEW
    return int(linear * size + square * size**2)


def _saved_bytes(method: Method, job: Job, pairs: int) -> int:
    """Bytes that autograd keeps for the backward pass, every phase begun.

    Without `fit`, which may take minutes: what it fills has its size from the configuration.
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = job.split("train").pairs(torch.arange(pairs))
    method.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        terms = method(batch, Progress(phases=frozenset(method.phases)))
    owned = {p.untyped_storage().data_ptr() for p in method.parameters()}
    del terms
    return sum(size for pointer, size in kept.items() if pointer not in owned)


def _batch_bytes(job: Job) -> int:
    batch = job.split("train").pairs(torch.arange(MORE))
    tensors = [batch.images.regions, batch.images.pixels, batch.texts.words]
    tensors += [*batch.images.sidecars.values(), *batch.texts.sidecars.values()]
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)
