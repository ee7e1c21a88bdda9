"""LEADERBOARD.md and the same in other formats, regenerable byte for byte from the records and published numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from itm_harness.benchmarks.common.atomic import write_whole
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.board import boards_of
from itm_harness.benchmarks.leaderboard.eccv_table import read_eccv
from itm_harness.benchmarks.leaderboard.formats import FORMATS
from itm_harness.benchmarks.leaderboard.page import make_page
from itm_harness.benchmarks.leaderboard.published import read_published
from itm_harness.benchmarks.leaderboard.rows import Run, make_runs
from itm_harness.benchmarks.leaderboard.tables import Page
from itm_harness.benchmarks.records.code_hash import method_code_hash
from itm_harness.benchmarks.records.schema import Details, Record
from itm_harness.benchmarks.records.store import each_record
from itm_harness.datasets.spec import nearest
from itm_harness.methods.registry import SHIPPED, find_method

NAME = "LEADERBOARD"


def write_leaderboard(
    results_dir: Path, formats: Sequence[str] = ("md",), also: Sequence[Path] = ()
) -> tuple[list[Path], list[str]]:
    """Write `<results>/LEADERBOARD.*` from the folder's records.

    formats: of md, csv, latex, html, json. also: results folders whose records are shown as well. Returns the files,
    and a sentence for each record that is damaged or cannot stand beside the others: it is left out. Raises RunError
    where a format is unknown or all folders are missing.
    """
    renderers = [_renderer(name) for name in dict.fromkeys(formats)]
    page, problems = read_page(results_dir, *also)
    written = [_write(results_dir / f"{NAME}.{suffix}", render(page)) for suffix, render in renderers]
    return written, problems


def read_page(*results_dirs: Path) -> tuple[Page, list[str]]:
    """The page of the records of results folders, and a sentence for each record that is left out.

    Raises RunError where all folders are missing.
    """
    runs, damaged = read_runs(*results_dirs)
    page, conflicts = make_page(boards_of(runs), read_published(), read_eccv())
    return page, damaged + conflicts


def read_runs(*results_dirs: Path) -> tuple[list[Run], list[str]]:
    """The runs that may be shown, and a sentence for each damaged record; ranked lists are read and not kept.

    Raises RunError where all folders are missing.
    """
    damaged: list[str] = []
    return _runs(each_record(results_dirs, damaged), results_dirs[0]), damaged


def read_runs_and_details(*results_dirs: Path) -> tuple[list[Run], dict[str, dict[str, Details]], list[str]]:
    """As `read_runs`, with the details of every record by its id between them."""
    damaged: list[str] = []
    found = list(each_record(results_dirs, damaged))
    return _runs(found, results_dirs[0]), {record.id: details for _, record, details in found}, damaged


def _runs(found: Iterable[tuple[Path, Record, dict[str, Details]]], page_dir: Path) -> list[Run]:
    """page_dir: where the page lies that links to the records."""
    return make_runs(
        (record, details, Path(os.path.relpath(file, page_dir)).as_posix()) for file, record, details in found
    )


def _renderer(name: str) -> tuple[str, Callable]:
    if name not in FORMATS:
        raise RunError(f"--format {name} is unknown{nearest(name, list(FORMATS))}; give some of {', '.join(FORMATS)}.")
    return FORMATS[name]


def _write(path: Path, text: str) -> Path:
    write_whole(path, lambda file: file.write(text.encode()))
    return path


def current_code_hash(method: str, variant: str = "") -> str | None:
    """Hash of this checkout's code behind a method, its host's included; None where one is not shipped with it.

    An ensemble of recorded runs is named by its members, with + between them: the code behind all of them.
    """
    variants = variant.split("+")
    methods = method.split("+") if "+" in method else [method] * len(variants)
    if len(methods) != len(variants):  # a + in the name of a user's own method
        return None
    files = [_shipped_files(*member) for member in zip(methods, variants, strict=True)]
    return None if None in files else method_code_hash([file for some in files for file in some])


def _shipped_files(method: str, variant: str) -> tuple[Path, ...] | None:
    if method not in SHIPPED:
        return None
    entry = find_method(method, variant)
    if entry.host is not None and variant not in entry.description.variants:  # on a host of a user's own
        return None
    return entry.files
