"""How long GSMN takes to score f30k-1k: 1,000 images x 5,000 captions at d 1024, 36 regions, real caption lengths.

    python -m itm_harness.benchmarks.bench.speed.gsmn_gallery [device] [images captions]

Prints wall and processor seconds and the largest resident memory, that of the encodings included. On a GPU some images
are scored once before, so that its libraries are loaded.
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import torch
from torch.nn.functional import normalize, pad

from itm_harness.benchmarks.bench.rates import synchronise
from itm_harness.benchmarks.bench.shapes import SHAPES, VOCABULARY, draw_lengths
from itm_harness.benchmarks.protocol.evaluate import similarity_matrix
from itm_harness.benchmarks.records.provenance import hardware
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.parts.encoded import Encoded, Ragged
from itm_harness.methods.registry import find_method

WARM_UP = 128  # images


def random_rows(lengths: torch.Tensor, width: int) -> Ragged:
    """Normalised random rows, so many per item. lengths: (n,)."""
    return Ragged(normalize(torch.randn(int(lengths.sum()), width), dim=1), pad(lengths.cumsum(0), (1, 0)))


def main(device: torch.device, n_images: int, n_texts: int) -> None:
    """Score all pairs of random encodings."""
    torch.manual_seed(0)
    entry, regions = find_method("gsmn"), SHAPES["f30k"].regions
    config = resolve_entry(entry, "f30k", None, {"text.vocabulary_size": VOCABULARY, "region_dim": 8}).config
    method, sizes = entry.method(config).eval(), torch.full((n_images,), regions)
    places = Ragged(torch.rand(n_images * regions, config.n_kernels), pad(sizes.cumsum(0), (1, 0)))
    images = Encoded({"regions": random_rows(sizes, config.embed_size), "places": places})
    lengths = torch.from_numpy(draw_lengths(n_texts, np.random.default_rng(0)))
    texts = Encoded({"words": random_rows(lengths, config.embed_size)})
    method, images, texts = method.to(device), images.to(device), texts.to(device)
    if device.type == "cuda":
        similarity_matrix(method, images[:WARM_UP], texts)
    synchronise(device)
    began, used = time.perf_counter(), time.process_time()
    similarity_matrix(method, images, texts)
    synchronise(device)
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(
        f"{n_images:,} x {n_texts:,} pairs on {hardware(device).device}, {torch.get_num_threads()} threads: "
        f"{seconds:.2f} s, {processor:.2f} s of processor time, {peak:.2f} GB resident at most, "
        f"torch {torch.__version__}"
    )


if __name__ == "__main__":
    counts = (int(count) for count in sys.argv[2:4] or (1000, 5000))
    main(torch.device(sys.argv[1] if len(sys.argv) > 1 else "cpu"), *counts)
