"""What commands print: tables of metrics, what was written, why a command ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from itm_harness.benchmarks.common.errors import printable

if TYPE_CHECKING:
    from itm_harness.benchmarks.records.schema import ECCVCaption, Metrics, Record
    from itm_harness.methods.recipe import Recipe

console = Console()


def progress_console(as_json: bool) -> Console:
    """Where progress and notes go: beside a JSON document, which has stdout to itself, they go to stderr."""
    return Console(stderr=True) if as_json else console


def print_json(document: Any) -> None:
    """One JSON document on stdout, for other programs; in ASCII, which every terminal and pipe takes."""
    print(json.dumps(document, indent=1))


def record_document(record: Record) -> dict[str, Any]:
    """A record for JSON: its id, and all that its file holds."""
    return {"id": record.id, **record.model_dump(mode="json")}


def recipe_document(recipe: Recipe) -> dict[str, Any]:
    """A resolved recipe for JSON. sources: dotted key -> where its value is from, of every value."""
    return {
        "method": recipe.method,
        "variant": recipe.variant,
        "dataset": recipe.dataset,
        "values": recipe.values(),
        "sources": {key: source for key, _, source in recipe.rows()},
    }


def show_table(columns: tuple[str, ...], rows: list[tuple[str, ...]], title: str | None = None) -> None:
    """A table, control characters made visible."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    console.print(table)


def show_metrics(metrics: dict[str, Metrics], title: str) -> None:
    """The recalls of each benchmark; ECCV Caption and CxC below where they were measured."""
    columns = ("benchmark", "i2t R@1", "R@5", "R@10", "t2i R@1", "R@5", "R@10", "rsum", "ties")
    rows = [
        (
            name,
            *(f"{value:.1f}" for d in (m.i2t, m.t2i) for value in (d.r1, d.r5, d.r10)),
            f"{m.rsum:.1f}",
            str(m.i2t.ties + m.t2i.ties),
        )
        for name, m in metrics.items()
    ]
    show_table(columns, rows, title)
    for name, m in metrics.items():
        if m.eccv is not None:
            _show_judgements(m.eccv, f"{name}: ECCV Caption and CxC")


def _show_judgements(found: ECCVCaption, title: str) -> None:
    columns = ("direction", "mAP@R", "R-Precision", "R@1", "CxC R@1", "CxC R@5", "CxC R@10")
    rows = [(side, *(f"{v:.1f}" for v in getattr(found, side).model_dump().values())) for side in ("i2t", "t2i")]
    show_table(columns, rows, title)


def print_metrics(metrics: dict[str, Metrics], title: str, as_json: bool) -> None:
    """The same, or as JSON for other programs."""
    if as_json:
        print_json({name: m.model_dump(mode="json") for name, m in metrics.items()})
    else:
        show_metrics(metrics, title)


def show_written(path: Path, problems: list[str]) -> None:
    """Where a table went. Exit code 2 with what had to be left out."""
    console.print(f"written: {path}", soft_wrap=True, highlight=False, markup=False)
    if problems:
        stop_with("\n".join([*problems, f"left out: {len(problems)}; the rest was written."]), 2)


def stop_with(message: str, code: int) -> NoReturn:
    """End the command: a message on stderr, and an exit code."""
    Console(stderr=True).print(printable(message), style="red", soft_wrap=True, highlight=False, markup=False)
    sys.exit(code)
