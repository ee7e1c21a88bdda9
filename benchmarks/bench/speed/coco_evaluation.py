"""How long the evaluation of coco takes: 5,000 x 25,000 similarities, the whole gallery and five folds.

python -m itm_harness.benchmarks.bench.speed.coco_evaluation [device]
"""

from __future__ import annotations

import resource
import sys
import time

import torch
from torch import Tensor

from itm_harness.benchmarks.bench.rates import synchronise
from itm_harness.benchmarks.protocol.ranks import evaluate_matrix
from itm_harness.benchmarks.records.provenance import available_cores, hardware

IMAGES, TEXTS, FOLDS = 5000, 25000, 5


def main(device: torch.device) -> None:
    """Print seconds, and the memory that the evaluation needed beyond the matrix. A GPU's first time is not counted."""
    similarity = torch.randn(IMAGES, TEXTS, generator=torch.Generator().manual_seed(0)).to(device)
    image_of_text = torch.arange(TEXTS) // (TEXTS // IMAGES)
    if device.type == "cuda":
        evaluate(similarity, image_of_text)
        torch.cuda.reset_peak_memory_stats(device)
    before = _peak_bytes(device)
    synchronise(device)
    began = time.perf_counter()
    evaluate(similarity, image_of_text)
    synchronise(device)
    seconds = time.perf_counter() - began
    beyond, where = (_peak_bytes(device) - before) / 1e9, hardware(device).device
    print(
        f"coco-5k and coco-1k on {where}: {seconds:.3f} s, {beyond:.2f} GB beyond the matrix, {available_cores()} cores"
    )


def evaluate(similarity: Tensor, image_of_text: Tensor) -> None:
    """The whole gallery and the folds."""
    for folds in (1, FOLDS):
        evaluate_matrix(similarity, image_of_text, folds)


def _peak_bytes(device: torch.device) -> int:
    """The largest memory so far: on the GPU, or resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(torch.device(sys.argv[1] if len(sys.argv) > 1 else "cpu"))
