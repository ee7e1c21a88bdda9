"""How long the evaluation of coco takes: 5,000 x 25,000 similarities, the whole gallery and five folds.

python -m benchmarks.speed.coco_evaluation
"""

from __future__ import annotations

import resource
import time

import torch

from benchmarks.protocol import evaluate_matrix
from benchmarks.provenance import available_cores

IMAGES, TEXTS, FOLDS = 5000, 25000, 5


def main() -> None:
    """Print seconds, and the memory that the evaluation needed beyond the matrix."""
    similarity = torch.randn(IMAGES, TEXTS, generator=torch.Generator().manual_seed(0))
    image_of_text = torch.arange(TEXTS) // (TEXTS // IMAGES)
    before = _peak_bytes()
    began = time.perf_counter()
    for folds in (1, FOLDS):
        evaluate_matrix(similarity, image_of_text, folds)
    seconds = time.perf_counter() - began
    beyond = (_peak_bytes() - before) / 1e9
    print(f"coco-5k and coco-1k: {seconds:.2f} s, {beyond:.2f} GB beyond the matrix, {available_cores()} cores")


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
