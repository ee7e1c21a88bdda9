"""Any system's similarity matrix, measured under the protocol: no model is needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol import eccv
from itm_harness.benchmarks.protocol.judgements import BENCHMARK as JUDGED_BENCHMARK
from itm_harness.benchmarks.protocol.ranks import evaluate_matrix
from itm_harness.benchmarks.protocol.scoring import as_metrics
from itm_harness.benchmarks.records.schema import Metrics
from itm_harness.datasets.files.arrays import open_array
from itm_harness.datasets.files.caption_ids import read_caption_ids
from itm_harness.datasets.spec import BenchmarkSpec, DatasetSpec, dataset_names, find_spec, nearest


def evaluate_matrix_file(path: Path, benchmark: str, caption_ids: Path | None = None) -> dict[str, Metrics]:
    """Benchmark -> metrics of a .npy matrix: rows = images, columns = captions, both in file order.

    caption_ids: file with COCO's id of every column, for ECCV Caption and CxC beside coco-5k. Raises RunError or
    DataError where the benchmark is unknown, the file no matrix of its size, or the ids are not COCO's.
    """
    dataset, spec = find_benchmark(benchmark)
    similarity = _read(path)
    rows, columns = similarity.shape
    images = spec.images or rows
    texts = images * dataset.captions_per_image
    if (rows, columns) != (images, texts):
        raise RunError(
            f"{path} is {rows} x {columns}, but {benchmark} has {images} images (rows) and {texts} captions "
            f"(columns), both in file order; save the whole test split's matrix."
        )
    image_of_text = torch.arange(texts) // dataset.captions_per_image
    metrics = as_metrics(evaluate_matrix(similarity, image_of_text, spec.folds))
    if caption_ids is None:
        return {benchmark: metrics}
    if benchmark != JUDGED_BENCHMARK:
        raise RunError(f"--caption-ids {caption_ids}: ECCV Caption and CxC belong to {JUDGED_BENCHMARK}; leave it out.")
    found = eccv.judged(similarity, read_caption_ids(caption_ids, texts), image_of_text.numpy())
    return {benchmark: metrics.model_copy(update={"eccv": found})}


def find_benchmark(name: str) -> tuple[DatasetSpec, BenchmarkSpec]:
    """A benchmark by its name, with its data set. Raises RunError with the nearest name."""
    known = {b.name: (dataset, b) for dataset in map(find_spec, dataset_names()) for b in dataset.benchmarks}
    if name not in known:
        raise RunError(f"unknown benchmark '{name}'{nearest(name, list(known))}; known: {', '.join(known)}.")
    return known[name]


def _read(path: Path) -> torch.Tensor:
    matrix = open_array(path, mode="c")  # torch wants memory that could be written
    if matrix.ndim != 2 or matrix.dtype.kind != "f":
        raise RunError(f"{path} does not hold one matrix of floats; save images x captions with numpy.save.")
    native = matrix.dtype in (np.float32, np.float64) and matrix.dtype.isnative
    return torch.from_numpy(matrix if native else matrix.astype(np.float32))
