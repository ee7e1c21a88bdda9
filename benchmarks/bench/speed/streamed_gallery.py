"""Rank a gallery whose similarity matrix would not fit: 100,000 x 500,000 simulated embeddings, a matrix of 200 GB.

    python -m itm_harness.benchmarks.bench.speed.streamed_gallery [images] [device]

Prints time, processor time per pair and peak memory, and compares queries drawn at random with a count over their
complete row or column. The embeddings are small whole numbers: their products are exact in any order of summation, so
that the ranks have to be equal, and many of them tie.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from itm_harness.benchmarks.protocol.encoding_files import mapped
from itm_harness.benchmarks.protocol.pair_scores import PairScores, no_tick
from itm_harness.benchmarks.protocol.streaming import Ranking, rank_stream
from itm_harness.benchmarks.records.provenance import available_cores
from itm_harness.methods.base import EmbeddingMethod, MethodConfig
from itm_harness.methods.parts.encoded import Encoded

IMAGES, CAPTIONS_EACH, DIM = 100_000, 5, 256
LEVELS = 4  # embeddings hold whole numbers from -4 to 4
NOISE = 15  # what is added to an image's embedding to make a caption's: from -15 to 15
CHECKED = 100  # queries of each direction that are counted again
PART = 10_000


class Ready(EmbeddingMethod):
    """Scores embeddings that are there already."""

    embed_images = embed_texts = None


def gallery(images: int) -> tuple[Encoded, Encoded]:
    """Embeddings of images and captions, on disk."""
    return mapped(image_parts(images)), mapped(text_parts(images))


def image_parts(images: int) -> Iterator[Encoded]:
    """Embeddings in parts, each from a seed of its own."""
    for start in range(0, images, PART):
        generator = torch.Generator().manual_seed(start)
        size = min(PART, images - start), DIM
        yield Encoded({"embedding": torch.randint(-LEVELS, LEVELS + 1, size, generator=generator).float()})


def text_parts(images: int) -> Iterator[Encoded]:
    """Those of the captions: the image's and noise."""
    for number, part in enumerate(image_parts(images)):
        own = part["embedding"].repeat_interleave(CAPTIONS_EACH, dim=0)
        generator = torch.Generator().manual_seed(images + number)
        yield Encoded({"embedding": own + torch.randint(-NOISE, NOISE + 1, own.shape, generator=generator)})


def wrong_ranks(found: Ranking, images: Tensor, texts: Tensor, image_of_text: Tensor) -> int:
    """How many of some queries have another rank than a count over their complete row or column gives."""
    generator, ranks = torch.Generator().manual_seed(0), found.evaluation.ranks
    wrong = 0
    for image in torch.randint(len(images), (CHECKED,), generator=generator).tolist():
        row, own = texts @ images[image], image_of_text == image
        wrong += int((row[~own] >= row[own].max()).sum()) != int(ranks.i2t[image])
    for text in torch.randint(len(texts), (CHECKED,), generator=generator).tolist():
        column = images @ texts[text]
        wrong += int((column >= column[image_of_text[text]]).sum()) - 1 != int(ranks.t2i[text])
    return wrong


def main(n_images: int, device: torch.device) -> None:
    """Rank, compare, print."""
    images, texts = gallery(n_images)
    image_of_text = torch.arange(n_images * CAPTIONS_EACH) // CAPTIONS_EACH
    began, busy = time.perf_counter(), time.process_time()
    (found,) = rank_stream(PairScores(Ready(MethodConfig()), images, texts, device, no_tick), image_of_text)
    seconds, busy = time.perf_counter() - began, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    on_device = f", {torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB on the GPU" if device.type == "cuda" else ""
    pairs = n_images * len(image_of_text)
    i2t, t2i = found.evaluation.i2t, found.evaluation.t2i
    where = f"{device} ({available_cores()} cores, {torch.get_num_threads()} threads), torch {torch.__version__}"
    print(
        f"{n_images:,} x {len(image_of_text):,}, d {DIM}, on {where}: {seconds:.0f} s, {busy:.0f} s of processor time"
    )
    print(f"{1e9 * busy / pairs:.2f} ns per pair, peak {peak:.2f} GB{on_device}")
    print(f"R@1 {i2t.r1:.1f} and {t2i.r1:.1f}, {i2t.ties + t2i.ties:,} queries tie")
    wrong = wrong_ranks(found, images["embedding"], texts["embedding"], image_of_text)
    print(f"compared with complete rows and columns: {2 * CHECKED - wrong} of {2 * CHECKED} ranks equal")


if __name__ == "__main__":
    torch.manual_seed(0)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else IMAGES, torch.device(sys.argv[2] if len(sys.argv) > 2 else "cpu"))
