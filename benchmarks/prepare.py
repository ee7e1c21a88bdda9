"""`prepare`: makes what methods read from the texts and pictures of a data set, once, and stores it beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.errors import RunError
from benchmarks.interrupt import StopRequest
from benchmarks.preparing import caption_ids, layout
from benchmarks.preparing.job import Job, known_names
from benchmarks.preparing.options import PrepareOptions
from benchmarks.preparing.products import PRODUCTS
from datasets.precomp import open_dataset

# --what -> what is made of files that are named with --from, before all else
FROM_SOURCES = {layout.NAME: layout.write_layout, caption_ids.NAME: caption_ids.write_caption_ids}

__all__ = ["PrepareOptions", "prepare"]


def prepare(options: PrepareOptions, console: Console) -> list[Path]:
    """Make what is asked for and not there yet; returns the files that were written, those made from sources first.

    Each file gets its name when it is whole, with a manifest beside it; one that was begun is gone on with. Raises
    RunError or DataError before anything is made where texts or pictures are missing, or where a file of somebody
    else's is in the way; Interrupted where the user stops it.
    """

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    names = known_names(options.what, [*FROM_SOURCES, *PRODUCTS], "--what")
    if options.sources and not set(FROM_SOURCES) & set(names):
        raise RunError(f"--from {options.sources[0]} is for --what {' or '.join(FROM_SOURCES)}; leave it out.")
    written = [path for name, write in FROM_SOURCES.items() if name in names for path in write(options, say)]
    return written + (_make_products(options, names, console) if set(PRODUCTS) & set(names) else [])


def _make_products(options: PrepareOptions, names: Sequence[str], console: Console) -> list[Path]:
    with StopRequest() as stop:
        job = Job(options, open_dataset(options.dataset, options.data_root), console, stop)
        products = [PRODUCTS[name](job) for name in PRODUCTS if name in names]
        targets = job.wanted([target for product in products for target in product.targets()])
        return [path for target in targets if (path := job.make(target))]
