"""Commands that write tables and pages from records: leaderboard, report, transfer, study."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from itm_harness.benchmarks.commands.help_text import examples
from itm_harness.benchmarks.commands.options import Contributed, DataRoot, Results, parts, place_of_tables
from itm_harness.benchmarks.commands.shown import console, show_written, stop_with

app = typer.Typer()
command = partial(app.command, rich_help_panel="Tables and pages")


@command(epilog=examples("itm leaderboard", "itm leaderboard --format md,csv,latex,html,json"))
def leaderboard(
    results: Results = Path("results"),
    format_: Annotated[str, typer.Option("--format", help="Some of md, csv, latex, html, json, with commas.")] = "md",
    contributed: Contributed = False,
) -> None:
    """Write results/local/LEADERBOARD.md, and other formats, from contributed records and your own.

    Exit code 2 where one is damaged.
    """
    from itm_harness.benchmarks.leaderboard.build import write_leaderboard

    folder, also = place_of_tables(results, contributed)
    written, problems = write_leaderboard(folder, parts(format_) or ["md"], also)
    for path in written:
        console.print(f"written: {path}", soft_wrap=True, highlight=False, markup=False)
    if problems:
        stop_with("\n".join([*problems, f"left out: {len(problems)}; the rest was written."]), 2)


@command(
    epilog=examples("itm report", "itm report --pictures f30k --data-root DIR --output mine.html"),
)
def report(
    results: Results = Path("results"),
    pictures: Annotated[
        str, typer.Option(help="Data sets beside demo whose pictures and captions are put in; for your own machine.")
    ] = "",
    data_root: DataRoot = None,
    output: Annotated[Path | None, typer.Option(help="The page; default: results/local/index.html.")] = None,
    contributed: Contributed = False,
) -> None:
    """Write results/local/index.html: leaderboards, curves, ablations and what each run retrieved, in one file."""
    from itm_harness.benchmarks.report.render import write_report

    folder, also = place_of_tables(results, contributed)
    path, notes, problems = write_report(folder, output, parts(pictures), data_root, also)
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    show_written(path, problems)


@command(epilog=examples("itm transfer"))
def transfer(results: Results = Path("results"), contributed: Contributed = False) -> None:
    """Write results/local/TRANSFER.md: checkpoints on data sets that they were not trained on."""
    from itm_harness.benchmarks.leaderboard.transfer import write_transfer

    show_written(*write_transfer(*place_of_tables(results, contributed)))


@command(epilog=examples("itm study seeds", "itm study gpo-pooling"))
def study(
    name: Annotated[
        str,
        typer.Argument(
            help="seeds: how much of a difference is chance, by the records. "
            "gpo-pooling: can GPO imitate known poolings? 3 minutes."
        ),
    ],
    results: Results = Path("results"),
    contributed: Contributed = False,
) -> None:
    """Run a study that needs no data set; write STUDIES.md, under results/local/."""
    from itm_harness.benchmarks.studies.report import run_study

    folder, also = place_of_tables(results, contributed)
    path = run_study(name, folder, lambda line: console.print(line, soft_wrap=True, highlight=False), also=also)
    console.print(f"written: {path}", soft_wrap=True, highlight=False, markup=False)
