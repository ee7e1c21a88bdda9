"""`prepare`: makes what methods read from the texts and pictures of a data set, once, and stores it beside it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from benchmarks.interrupt import StopRequest
from benchmarks.preparing.job import Job, known_names
from benchmarks.preparing.options import PrepareOptions
from benchmarks.preparing.products import PRODUCTS
from datasets.precomp import open_dataset

__all__ = ["PrepareOptions", "prepare"]


def prepare(options: PrepareOptions, console: Console) -> list[Path]:
    """Make what is asked for and not there yet; returns the files that were written.

    Each file gets its name when it is whole, with a manifest beside it; one that was begun is gone on with. Raises
    RunError or DataError before anything is made where texts or pictures are missing, or where a file of somebody
    else's is in the way; Interrupted where the user stops it.
    """
    names = known_names(options.what, list(PRODUCTS), "--what")
    with StopRequest() as stop:
        job = Job(options, open_dataset(options.dataset, options.data_root), console, stop)
        products = [PRODUCTS[name](job) for name in PRODUCTS if name in names]
        targets = job.wanted([target for product in products for target in product.targets()])
        return [path for target in targets if (path := job.make(target))]
