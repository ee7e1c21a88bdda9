"""Train on a features file larger than memory: 31 GB in coco's shape, sparse on disk, memory-mapped.

    python -m itm_harness.benchmarks.bench.speed.large_features FOLDER [steps]

Prints the peak of anonymous memory (RssAnon, from /proc): what the process holds of its own, mapped pages left out.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch

from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.training.engine import make_accelerator
from itm_harness.benchmarks.training.optimiser import build_optimizer
from itm_harness.datasets.augment import Augmentation
from itm_harness.datasets.loader import epoch_batches
from itm_harness.methods.base import Progress

IMAGES, REGIONS, DIM, CAPTIONS_EACH = 106_000, 36, 2048, 5  # 31.3 GB in float32
WORDS = ["a", "man", "dog", "rides", "red", "horse", "near", "the", "sea", "small", "child", "and", "waits"]


def write_tree(root: Path) -> None:
    """coco_precomp with a sparse training file: pages that were never written read as zeros and take no disk."""
    folder = root / "coco_precomp"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for split, images in (("train", IMAGES), ("dev", 100), ("testall", 100)):
        shape = (images, REGIONS, DIM)
        features = np.lib.format.open_memmap(folder / f"{split}_ims.npy", "w+", np.float32, shape)
        features[:: max(1, images // 500)] = rng.standard_normal(features[:: max(1, images // 500)].shape)
        del features
        choices = rng.integers(len(WORDS), size=(images * CAPTIONS_EACH, 11))
        lines = (" ".join(WORDS[i] for i in row) for row in choices)
        (folder / f"{split}_caps.txt").write_text("\n".join(lines) + "\n")


def anonymous_bytes() -> int:
    """RssAnon of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no RssAnon: this measurement needs Linux")


def watch(peak: list[int], stop: threading.Event) -> None:
    """Keep the largest RssAnon in `peak`."""
    while not stop.wait(0.02):
        peak[0] = max(peak[0], anonymous_bytes())


def train(root: Path, steps: int) -> None:
    """GPO with its coco recipe and the BiGRU, `steps` steps."""
    job = Job(RunOptions("gpo", "coco", data_root=root, variant="bigru"))
    make_accelerator("cpu", "fp32")
    method, split = job.build(0), job.split("train")
    optimizer = build_optimizer(method, job.recipe.optim)
    batches = epoch_batches(
        split, batch_size=job.recipe.train.batch_size, seed=0, epoch=0, augmentation=Augmentation(0.2, 0.2)
    )
    for step, batch in zip(range(steps), batches, strict=False):
        method(batch, Progress(step))["total"].backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def main(root: Path, steps: int) -> None:
    """Write the tree if it is not there, train, print the peak."""
    if not (root / "coco_precomp" / "train_ims.npy").exists():
        write_tree(root)
    size = (root / "coco_precomp" / "train_ims.npy").stat().st_size
    peak, stop = [0], threading.Event()
    watcher = threading.Thread(target=watch, args=(peak, stop))
    watcher.start()
    began = time.perf_counter()
    try:
        train(root, steps)
    finally:
        stop.set()
        watcher.join()
    seconds = time.perf_counter() - began
    print(
        f"features {size / 1e9:.1f} GB, {steps} steps in {seconds:.0f} s (reading captions included): "
        f"peak RssAnon {peak[0] / 1e9:.2f} GB, torch {torch.__version__}"
    )


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m itm_harness.benchmarks.bench.speed.large_features FOLDER [steps]")
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20)
