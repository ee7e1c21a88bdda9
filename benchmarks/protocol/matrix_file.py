"""Any system's similarity matrix in a file, measured on a benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol import eccv
from itm_harness.benchmarks.protocol.arrays import as_matrix, measure_on
from itm_harness.benchmarks.records.schema import JUDGED_BENCHMARK, Metrics
from itm_harness.datasets.files.arrays import open_array
from itm_harness.datasets.files.caption_ids import read_caption_ids


def evaluate_matrix_file(path: Path, benchmark: str, caption_ids: Path | None = None) -> dict[str, Metrics]:
    """Benchmark -> metrics of a .npy matrix: rows = images, columns = captions, both in file order.

    caption_ids: file with COCO's id of every column, for ECCV Caption and CxC beside coco-5k. Raises RunError or
    DataError where the benchmark is unknown, the file no matrix of its size, or the ids are not COCO's.
    """
    similarity = as_matrix(_read(path), str(path))
    metrics = measure_on(benchmark, similarity, str(path))
    if caption_ids is None:
        return {benchmark: metrics}
    if benchmark != JUDGED_BENCHMARK:
        raise RunError(f"--caption-ids {caption_ids}: ECCV Caption and CxC belong to {JUDGED_BENCHMARK}; leave it out.")
    owners = np.arange(metrics.n_texts) // (metrics.n_texts // metrics.n_images)
    found = eccv.judged(similarity, read_caption_ids(caption_ids, metrics.n_texts), owners)
    return {benchmark: metrics.model_copy(update={"eccv": found})}


def _read(path: Path) -> np.ndarray:
    matrix = open_array(path, mode="c")  # torch wants memory that could be written
    if matrix.ndim != 2 or matrix.dtype.kind != "f":
        raise RunError(f"{path} does not hold one matrix of floats; save images x captions with numpy.save.")
    return matrix
