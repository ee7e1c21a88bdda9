"""Any system's arrays, measured under the protocol: a similarity matrix, or embeddings. No model is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from itm_harness.benchmarks.common.errors import NotFiniteError, RunError
from itm_harness.benchmarks.protocol.ranks import evaluate_matrix
from itm_harness.benchmarks.protocol.scoring import as_metrics
from itm_harness.benchmarks.records.schema import Metrics
from itm_harness.datasets.spec import BenchmarkSpec, DatasetSpec, dataset_names, find_spec, nearest
from itm_harness.methods.base import dot_products
from itm_harness.methods.parts.normalise import l2norm

Array = Tensor | np.ndarray | Sequence[Any]  # whatever numpy takes, too
AXES = "rows are images, columns captions, both in file order"


def as_matrix(array: Array, name: str) -> Tensor:
    """A matrix of numbers as a tensor on its device: float64 where it has float64 or integers, else float32.

    name: how messages call it. Raises RunError where it is no matrix of real numbers, or is empty.
    """
    values = array.detach() if isinstance(array, Tensor) else np.asarray(array)
    real = not values.is_complex() if isinstance(values, Tensor) else values.dtype.kind in "biuf"
    if values.ndim != 2 or 0 in values.shape or not real:
        raise RunError(
            f"{name} has shape {tuple(values.shape)} and type {values.dtype}; give a matrix of real numbers, (rows, "
            f"columns)."
        )
    if isinstance(values, Tensor):
        return values.to(torch.float32 if values.is_floating_point() and values.itemsize <= 4 else torch.float64)
    kind = np.float32 if values.dtype.kind == "f" and values.dtype.itemsize <= 4 else np.float64
    return torch.from_numpy(np.require(values, kind, ["C", "W"]))  # torch may write into it


def embedding_similarity(images: Array, texts: Array, cosine: bool = False) -> Tensor:
    """(n_images, n_texts) dot products of embeddings (n_images, d) and (n_texts, d), on the device of the images.

    cosine: of each embedding divided by its length. Raises RunError where they are of different widths or not finite.
    """
    sides = as_matrix(images, "images"), as_matrix(texts, "texts")
    for name, side in zip(("images", "texts"), sides, strict=True):
        if not (finite := torch.isfinite(side).all(dim=1)).all():
            raise NotFiniteError(f"{name} hold NaN or inf in row {int(finite.long().argmin())}; embed that one anew.")
    if sides[0].shape[1] != sides[1].shape[1]:
        raise RunError(
            f"images are {sides[0].shape[1]} numbers wide, texts {sides[1].shape[1]}; give a row of one width for "
            f"each image and each caption."
        )
    dtype = torch.promote_types(sides[0].dtype, sides[1].dtype)
    first, second = (l2norm(side.to(dtype)) if cosine else side.to(dtype) for side in sides)
    return dot_products(first, second.to(first.device))


def measure_on(benchmark: str, similarity: Tensor, name: str = "similarity") -> Metrics:
    """Metrics of a matrix (n_images, n_texts) in the folds of a benchmark, by its name.

    name: how messages call the matrix. Raises RunError where the benchmark is unknown or has another size.
    """
    dataset, spec = find_benchmark(benchmark)
    images = spec.images or len(similarity)
    texts = images * dataset.captions_per_image
    if similarity.shape != (images, texts):
        rows, columns = similarity.shape
        what = "it is transposed" if (rows, columns) == (texts, images) else "save the whole test split's matrix"
        raise RunError(
            f"{name} is {rows} x {columns}, but {benchmark} has {images} images (rows) and {texts} captions "
            f"(columns), both in file order; {what}."
        )
    owners = torch.arange(texts) // dataset.captions_per_image
    return as_metrics(evaluate_matrix(similarity, owners, spec.folds))


def measure(similarity: Tensor, captions_per_image: int | None = None, image_of_text: Array | None = None) -> Metrics:
    """Metrics of a matrix (n_images, n_texts) as one gallery.

    captions_per_image: so many consecutive columns belong to each row; None = as many as divide up. image_of_text:
    (n_texts,) the row of each column, in any order. Raises RunError where they do not fit the matrix.
    """
    if image_of_text is not None:
        owners = _owners(image_of_text, *similarity.shape)
    else:
        owners = torch.arange(similarity.shape[1]) // _captions_per_image(captions_per_image, *similarity.shape)
    return as_metrics(evaluate_matrix(similarity, owners))


def _captions_per_image(wanted: int | None, n_images: int, n_texts: int) -> int:
    each = n_texts // n_images if wanted is None else wanted
    if each < 1 or n_images * each != n_texts:
        said = "every image the same number" if wanted is None else f"captions_per_image={wanted}"
        raise RunError(
            f"similarity is {n_images} x {n_texts}, which does not give {said} of captions: {AXES}; "
            f"transpose it, or name the image of each caption in image_of_text."
        )
    return each


def _owners(image_of_text: Array, n_images: int, n_texts: int) -> Tensor:
    owners = torch.as_tensor(image_of_text).cpu()
    if owners.ndim != 1 or owners.is_floating_point() or owners.is_complex() or owners.dtype == torch.bool:
        raise RunError("image_of_text is no list of whole numbers; give the row of each caption's image, from 0.")
    if len(owners) != n_texts:
        raise RunError(f"image_of_text names {len(owners)} captions, similarity has {n_texts} columns: {AXES}.")
    if owners.min() < 0 or owners.max() >= n_images:
        wrong = int(owners.min()) if owners.min() < 0 else int(owners.max())
        raise RunError(f"image_of_text names image {wrong}, similarity has rows 0 to {n_images - 1}: {AXES}.")
    return owners.long()


def find_benchmark(name: str) -> tuple[DatasetSpec, BenchmarkSpec]:
    """A benchmark by its name, with its data set. Raises RunError with the nearest name."""
    known = {b.name: (dataset, b) for dataset in map(find_spec, dataset_names()) for b in dataset.benchmarks}
    if name not in known:
        raise RunError(f"unknown benchmark '{name}'{nearest(name, list(known))}; known: {', '.join(known)}.")
    return known[name]
