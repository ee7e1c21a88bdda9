"""Commands that look at records: compare, show, audit."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itm_harness.benchmarks.commands import completion
from itm_harness.benchmarks.commands.help_text import examples, json_option
from itm_harness.benchmarks.commands.options import DataRoot, Hash, RecordName, Results, hash_whole
from itm_harness.benchmarks.commands.shown import console, print_json, show_table

if TYPE_CHECKING:
    from itm_harness.benchmarks.analysis.compare import BenchmarkComparison
    from itm_harness.benchmarks.audit.folder import Report

app = typer.Typer()
command = partial(app.command, rich_help_panel="Look at records")


@command(
    epilog=examples(
        "itm compare gpo-demo-s0 gsmn-dense-demo-s0",
        "itm compare gpo-demo-s0 gpo-demo-s1 --single",
        "itm compare gpo-demo-s0 hrem-fusion-demo-s0 --json",
    )
)
def compare(
    first: Annotated[
        str,
        typer.Argument(
            help="A record of a row: its id, the beginning of it, or its .json.", autocompletion=completion.records
        ),
    ],
    second: Annotated[
        str, typer.Argument(help="A record of the row to compare it with.", autocompletion=completion.records)
    ],
    results: Results = Path("results"),
    single: Annotated[bool, typer.Option("--single", help="Compare the two records alone, not their rows.")] = False,
    queries: Annotated[
        int, typer.Option(help="Of single records: how many of the most different queries.", min=0)
    ] = 10,
    as_json: Annotated[
        bool, json_option("by benchmark: quantities with intervals and p, the queries that differ most.")
    ] = False,
) -> None:
    """Is the difference of two rows more than chance? A row is all seeds of a record's recipe.

    Differences with 95 % intervals and p; of single records also exact McNemar and where they differ most.
    """
    from itm_harness.benchmarks.analysis.compare import compare_rows
    from itm_harness.benchmarks.records.opening import open_pair

    pair = open_pair(first, second, results, single)
    found = compare_rows(*pair, queries=queries)
    if as_json:
        print_json({b.benchmark: asdict(b) for b in found})
        return
    for letter, row in zip("AB", pair[:2], strict=True):
        names = ", ".join(opened.record.id for opened in row)
        console.print(f"{letter} = {names}", soft_wrap=True, highlight=False, markup=False)
    for benchmark in found:
        _show_comparison(benchmark)


@command(
    epilog=examples(
        "itm show gpo-demo-s0 --query 17",
        "itm show gpo-demo-s0 --query 85 --direction t2i --against vssr-demo-s0",
    )
)
def show(
    record: RecordName,
    query: Annotated[int, typer.Option(help="Number of the image or caption in the test split, from 0.")],
    direction: Annotated[str, typer.Option(help="i2t: captions of an image; t2i: images of a caption.")] = "i2t",
    against: Annotated[
        str | None, typer.Option(help="A second record, shown below.", autocompletion=completion.records)
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(help="Default: the one with the largest galleries.", autocompletion=completion.benchmarks),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Where the captions are from; default: the record's.", autocompletion=completion.datasets),
    ] = None,
    results: Results = Path("results"),
    data_root: DataRoot = None,
    as_json: Annotated[
        bool,
        json_option(
            "benchmark, direction, query, text, right (item, text), answers (record, rank, best: item, score, "
            "right, text)."
        ),
    ] = False,
) -> None:
    """Show what a record answered to one query: its rank and the best ten, right ones marked."""
    from itm_harness.benchmarks.analysis.show import look_up
    from itm_harness.benchmarks.analysis.show import show as show_answers

    found = look_up(record, query, direction, against, benchmark, dataset, results, data_root)
    if as_json:
        print_json(found.document())
    else:
        show_answers(found, console)


@command(
    epilog=examples(
        "itm audit",
        "itm audit gpo-demo-s0 --json",
        "itm audit --data-root DIR --hash full",
    )
)
def audit(
    records: Annotated[
        list[str] | None,
        typer.Argument(help="Ids, their beginnings, or paths; default: all.", autocompletion=completion.records),
    ] = None,
    results: Results = Path("results"),
    data_root: DataRoot = None,
    hash_: Hash = "sampled",
    as_json: Annotated[
        bool, json_option("wrong, notes, checked (sentences), stale and unchecked (ids of records).")
    ] = False,
) -> None:
    """Check records: schema, ranks, flags, data at hand, tables, published numbers. Exit code 1 where one is wrong."""
    from itm_harness.benchmarks.audit.folder import Report
    from itm_harness.benchmarks.audit.folder import audit as audit_results

    report = Report()
    audit_results(results, records or [], data_root, hash_whole(hash_), report)
    if as_json:
        print_json(asdict(report))
    else:
        _show_audit(report)
    raise typer.Exit(1 if report.wrong else 0)


def _show_audit(report: Report) -> None:
    for line in [*report.notes, *(f"WRONG: {sentence}" for sentence in report.wrong)]:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"checked: {', '.join(report.checked)}; wrong: {len(report.wrong)}", highlight=False)


def _show_comparison(b: BenchmarkComparison) -> None:
    columns = ("", "A", "B", "A − B", "95 % interval", "p", "p (Holm)")  # noqa: RUF001
    show_table(columns, [q.row() for q in b.quantities], b.benchmark)
    for sentence in b.sentences():
        console.print(sentence, highlight=False, soft_wrap=True)
    for kind, queries in (("image", b.images), ("caption", b.captions)):
        if queries:
            console.print(f"{kind}s with the largest ratio of ranks, by position in the test split from 0:")
            show_table((kind, "rank in A", "rank in B"), [(q.position, q.first, q.second) for q in queries])
