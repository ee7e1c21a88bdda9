"""Commands that look at records: compare, show, audit."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itm_harness.benchmarks.commands.options import AsJson, DataRoot, Hash, Results, hash_whole
from itm_harness.benchmarks.commands.shown import console, show_table

if TYPE_CHECKING:
    from itm_harness.benchmarks.analysis.compare import BenchmarkComparison

app = typer.Typer()
command = partial(app.command, rich_help_panel="Look at records")


@command(
    epilog="Examples:  itm compare gpo-demo-s0 gsmn-dense-demo-s0    "
    "itm compare results/records/A.json other/records/B.json --json"
)
def compare(
    first: Annotated[str, typer.Argument(help="A record: its id, the beginning of it, or the path of its .json.")],
    second: Annotated[str, typer.Argument(help="The record to compare it with.")],
    results: Results = Path("results"),
    queries: Annotated[int, typer.Option(help="How many of the most different queries.", min=0)] = 10,
    as_json: AsJson = False,
) -> None:
    """Difference of two records with 95 % intervals, exact McNemar, and the queries where they differ most."""
    from itm_harness.benchmarks.analysis.compare import compare_records
    from itm_harness.benchmarks.records.opening import open_record

    pair = open_record(first, results), open_record(second, results)
    found = compare_records(*pair, queries=queries)
    if as_json:
        print(json.dumps({b.benchmark: asdict(b) for b in found}, indent=1))
        return
    names = [opened.record.id for opened in pair]
    console.print(f"A = {names[0]}, B = {names[1]}", soft_wrap=True, highlight=False, markup=False)
    for benchmark in found:
        _show_comparison(benchmark)


@command(
    epilog="Examples:  itm show gpo-demo-s0 --query 17    "
    "itm show gpo-demo-s0 --query 85 --direction t2i --against gsmn-dense-demo-s0"
)
def show(
    record: Annotated[str, typer.Argument(help="A record: its id, the beginning of it, or the path of its .json.")],
    query: Annotated[int, typer.Option(help="Number of the image or caption in the test split, from 0.")],
    direction: Annotated[str, typer.Option(help="i2t: captions of an image; t2i: images of a caption.")] = "i2t",
    against: Annotated[str | None, typer.Option(help="A second record, shown below.")] = None,
    benchmark: Annotated[str | None, typer.Option(help="Default: the one with the largest galleries.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Where the captions are from; default: the record's.")] = None,
    results: Results = Path("results"),
    data_root: DataRoot = None,
) -> None:
    """Show what a record answered to one query: its rank and the best ten, right ones marked."""
    from itm_harness.benchmarks.analysis.show import show as show_query

    show_query(record, query, direction, against, benchmark, dataset, results, data_root, console)


@command(
    epilog="Examples:  itm audit    itm audit gpo-demo-s0 --results DIR/results    "
    "itm audit --data-root DIR --hash full"
)
def audit(
    records: Annotated[list[str] | None, typer.Argument(help="Ids, their beginnings, or paths; default: all.")] = None,
    results: Results = Path("results"),
    data_root: DataRoot = None,
    hash_: Hash = "sampled",
) -> None:
    """Check records: schema, ranks, flags, data at hand, tables, published numbers. Exit code 1 where one is wrong."""
    from itm_harness.benchmarks.audit.folder import Report
    from itm_harness.benchmarks.audit.folder import audit as audit_results

    report = Report()
    audit_results(results, records or [], data_root, hash_whole(hash_), report)
    for line in [*report.notes, *(f"WRONG: {sentence}" for sentence in report.wrong)]:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"checked: {', '.join(report.checked)}; wrong: {len(report.wrong)}", highlight=False)
    raise typer.Exit(1 if report.wrong else 0)


def _show_comparison(b: BenchmarkComparison) -> None:
    columns = ("", "A", "B", "A − B", "95 % interval", "p", "p (Holm)")  # noqa: RUF001
    show_table(columns, [q.row() for q in b.quantities], b.benchmark)
    console.print(b.mcnemar_sentence(), highlight=False, soft_wrap=True)
    for kind, queries in (("image", b.images), ("caption", b.captions)):
        if queries:
            console.print(f"{kind}s with the largest ratio of ranks, by position in the test split from 0:")
            show_table((kind, "rank in A", "rank in B"), [(q.position, q.first, q.second) for q in queries])
