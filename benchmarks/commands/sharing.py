"""Commands that give records to others: contribute, export."""

from __future__ import annotations

import json
import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itm_harness.benchmarks.commands import completion
from itm_harness.benchmarks.commands.help_text import examples
from itm_harness.benchmarks.commands.options import DataRoot, RecordName, Results
from itm_harness.benchmarks.commands.shown import console
from itm_harness.benchmarks.common.errors import RunError

if TYPE_CHECKING:
    from itm_harness.benchmarks.records.opening import Opened

app = typer.Typer()
command = partial(app.command, rich_help_panel="Share")


@command(
    epilog=examples(
        "itm contribute gpo-f30k-s0 gpo-f30k-s1 gpo-f30k-s2 --submitter 'A. Name'",
        "itm contribute gsmn-dense-coco-s0 --fewer-seeds 'one seed takes nine days'",
    )
)
def contribute(
    records: Annotated[
        list[str],
        typer.Argument(help="Your records: ids, their beginnings, or paths.", autocompletion=completion.records),
    ],
    submitter: Annotated[str, typer.Option(help="Your name, as the record is to tell it; default: none.")] = "",
    fewer_seeds: Annotated[str, typer.Option(help="Why a row has fewer than three seeds.")] = "",
    results: Results = Path("results"),
    data_root: DataRoot = None,
) -> None:
    """Check records of your own, copy them to the contributed ones, and make the tracked tables anew."""
    from itm_harness.benchmarks.audit.contribution import Terms
    from itm_harness.benchmarks.audit.contribution import contribute as copy_over
    from itm_harness.benchmarks.audit.tables import rewrite_tables

    written = [
        file
        for record in copy_over(records, results, Terms(submitter, fewer_seeds), data_root)
        for file in (record, record.with_suffix(".npz"))
    ]
    written += rewrite_tables(results)
    for path in written:
        console.print(f"written: {path}", soft_wrap=True, highlight=False, markup=False)
    add = shlex.join(["git", "add", *map(str, written)])
    console.print(f"commit these files and nothing else: {add}", soft_wrap=True, highlight=False, markup=False)


@command(
    epilog=examples(
        "itm export gpo-demo-s0 --format model-card --output DIR",
        "itm export gpo-f30k-s0 --format mteb --output mteb-results",
    )
)
def export(
    record: RecordName,
    format_: Annotated[str, typer.Option("--format", help="model-card, of the Hugging Face hub; or mteb.")],
    output: Annotated[Path, typer.Option(help="The folder that gets README.md, or a JSON file per task of MTEB.")],
    results: Results = Path("results"),
) -> None:
    """Write a record in a format of others: a model card for a checkpoint, or results of MTEB's tasks."""
    from itm_harness.benchmarks.common.atomic import write_whole
    from itm_harness.benchmarks.records.opening import open_record

    kinds = {"model-card": _model_card, "mteb": _mteb}
    if format_ not in kinds:
        raise RunError(f"--format {format_} is not known; use {' or '.join(kinds)}.")
    for name, text in kinds[format_](open_record(record, results)).items():
        write_whole(output / name, lambda file, text=text: file.write(text.encode()))
        console.print(f"written: {output / name}", soft_wrap=True, highlight=False, markup=False)


def _model_card(opened: Opened) -> dict[str, str]:
    """File name -> its text."""
    from itm_harness.benchmarks.records.model_card import model_card

    return {"README.md": model_card(opened.record)}


def _mteb(opened: Opened) -> dict[str, str]:
    """File name -> its text."""
    from itm_harness.benchmarks.records.mteb_result import mteb_results

    found = mteb_results(opened.record, opened.details)
    return {f"{task}.json": json.dumps(content, indent=2) + "\n" for task, content in found.items()}
