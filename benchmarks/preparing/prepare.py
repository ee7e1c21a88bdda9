"""`prepare`: makes what methods read from the texts and pictures of a data set, once, and stores it beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.interrupt import StopRequest
from itm_harness.benchmarks.preparing import caption_ids, layout
from itm_harness.benchmarks.preparing.content import Target
from itm_harness.benchmarks.preparing.derived import derive, derived_yaml, names_folders
from itm_harness.benchmarks.preparing.job import Job, known_names
from itm_harness.benchmarks.preparing.options import PrepareOptions
from itm_harness.benchmarks.preparing.products import PRODUCTS
from itm_harness.datasets.precomp import open_dataset, root_folder
from itm_harness.datasets.spec import find_spec

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
    _require_place(options, names)
    written = [path for name, write in FROM_SOURCES.items() if name in names for path in write(options, say)]
    return written + (_make_products(options, names, console) if set(PRODUCTS) & set(names) else [])


def _make_products(options: PrepareOptions, names: Sequence[str], console: Console) -> list[Path]:
    if not options.output and _is_embedded(options):
        raise RunError(
            f"data set {options.dataset} is embedded, and what it brings along is what its records rest on; "
            f"name a data root for a copy with prepared files: --output DIR, then --data-root DIR."
        )
    dataset = open_dataset(options.dataset, options.data_root)
    with StopRequest() as stop:
        if options.output:
            asked = _targets(Job(options, dataset, console, stop), names)
            dataset = derive(dataset, options, asked)
        job = Job(options, dataset, console, stop)
        made = [path for target in job.wanted(_targets(job, names)) if (path := job.make(target))]
        if options.output:
            job.say(f"a run reads it with {_how_to_name(options)}")
        return made


def _how_to_name(options: PrepareOptions) -> str:
    """The options of a run that reads the derived data set."""
    spec = find_spec(options.dataset)
    if names_folders(spec):
        return f"--dataset {derived_yaml(options.output, spec)}"
    return f"--dataset {options.dataset} --data-root {options.output}"


def _targets(job: Job, names: Sequence[str]) -> list[Target]:
    return [target for name in PRODUCTS if name in names for target in PRODUCTS[name](job).targets()]


def _require_place(options: PrepareOptions, names: Sequence[str]) -> None:
    """Raises RunError where the options do not say where, or say it in vain."""
    if options.limit and not options.output:
        raise RunError(f"--limit {options.limit} makes a smaller data set, which needs a place: --output DIR.")
    if options.output and set(FROM_SOURCES) & set(names):
        raise RunError(f"--output {options.output} is not for {', '.join(FROM_SOURCES)}; name a --data-root.")


def _is_embedded(options: PrepareOptions) -> bool:
    """Is it the data set that was generated into the cache, not a copy of it below the data root?"""
    spec = find_spec(options.dataset)
    return spec.generated and not (root_folder(options.data_root) / spec.name / "precomp").is_dir()
