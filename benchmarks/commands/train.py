"""Commands that train as recipes or records have it: ablate, ensemble, rerun."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itm_harness.benchmarks.commands import completion
from itm_harness.benchmarks.commands.help_text import examples, json_option
from itm_harness.benchmarks.commands.options import (
    Contributed,
    DataRoot,
    Device,
    Output,
    Precision,
    RecordName,
    Results,
    Set,
    place_of_tables,
    recipe_overrides,
    run_options,
    seed_numbers,
)
from itm_harness.benchmarks.commands.shown import (
    console,
    print_json,
    progress_console,
    show_metrics,
    show_written,
)
from itm_harness.benchmarks.common.errors import RunError

if TYPE_CHECKING:
    from itm_harness.benchmarks.runs.job import RunOptions

app = typer.Typer()
command = partial(app.command, rich_help_panel="Train")


@command(
    epilog=examples(
        "itm ablate --method hrem --dataset demo --seeds 0,1",
        "itm ablate --method hrem --dataset demo --list",
        "itm ablate --table",
    )
)
def ablate(
    method: Annotated[
        str | None, typer.Option(help="A method that has an ablation set.", autocompletion=completion.methods)
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="The data set that its rows are trained and tested on.", autocompletion=completion.datasets),
    ] = None,
    data_root: DataRoot = None,
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0",
    rows: Annotated[str, typer.Option(help="Labels of the rows to run, separated by commas; default: all.")] = "",
    set_: Set = [],  # noqa: B006 - typer copies it
    device: Device = None,
    precision: Precision = "fp32",
    output: Output = Path(),
    list_: Annotated[bool, typer.Option("--list", help="Only list the rows and what is recorded of them.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Only write ABLATIONS.md from the records.")] = False,
    contributed: Contributed = False,
) -> None:
    """Run what is missing of a method's ablation set and write results/local/ABLATIONS.md.

    --set counts for every row.
    """
    if not table:
        for value, option in ((method, "--method"), (dataset, "--dataset")):
            if value is None:
                raise RunError(f"ablate needs {option}, or --table; see `itm ablate --help`.")
        options = run_options(method, dataset, set_, precision, data_root=data_root, output=output)
        _run_ablation(options, seed_numbers(seeds), rows, device, list_)
    if list_:
        return
    from itm_harness.benchmarks.ablations.report import write_ablations

    show_written(*write_ablations(*place_of_tables(output / "results", contributed)))


@command(
    epilog=examples(
        "itm run --method gpo,hrem --dataset demo --output mine",
        "itm ensemble gpo-demo-s0 hrem-fusion-demo-s0 --output mine",
    )
)
def ensemble(
    records: Annotated[
        list[str],
        typer.Argument(help="Two records or more: ids, or the beginnings of ids.", autocompletion=completion.records),
    ],
    data_root: DataRoot = None,
    set_: Set = [],  # noqa: B006 - typer copies it
    device: Device = None,
    output: Output = Path(),
) -> None:
    """File the mean similarity of recorded runs, scored again from their checkpoints. --set takes text.bert alone."""
    from itm_harness.benchmarks.runs.accelerator import accelerator_on
    from itm_harness.benchmarks.runs.ensembling import ensemble_of

    accelerator = accelerator_on(device, "fp32")
    record = ensemble_of(records, output, data_root, recipe_overrides(set_, None), accelerator, console)
    show_metrics(record.metrics, record.id)


@command(
    epilog=examples(
        "itm rerun gpo-demo-s0",
        "itm rerun gpo-demo-s0 --output mine --json",
    )
)
def rerun(
    record: RecordName,
    results: Results = Path("results"),
    data_root: DataRoot = None,
    bert: Annotated[str | None, typer.Option(help="Folder of BERT's weights, where the record's name is none.")] = None,
    device: Device = None,
    output: Annotated[Path | None, typer.Option(help="Keep the repetition here; default: thrown away.")] = None,
    as_json: Annotated[bool, json_option("record (its id), equal, differing and reasons (sentences).")] = False,
) -> None:
    """Repeat a record from what it stores and compare. Exit code 1 where something differs, with what may be why."""
    import tempfile

    from itm_harness.benchmarks.records.opening import open_record
    from itm_harness.benchmarks.runs.accelerator import accelerator_on
    from itm_harness.benchmarks.runs.rerun import options_of
    from itm_harness.benchmarks.runs.rerun import rerun as repeat
    from itm_harness.benchmarks.training.determinism import deterministic

    first = open_record(record, results)
    with tempfile.TemporaryDirectory() as scratch:
        options = options_of(first.record, data_root, output or Path(scratch), bert)
        with deterministic(options.deterministic):
            accelerator = accelerator_on(device, options.precision)
            _, found = repeat(options, first, accelerator, progress_console(as_json))
    if as_json:
        print_json({"record": first.record.id, "equal": found.equal, **asdict(found)})
    else:
        for line in found.lines(first.record.id):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
    raise typer.Exit(0 if found.equal else 1)


def _run_ablation(options: RunOptions, seeds: list[int], rows: str, device: str | None, only_list: bool) -> None:
    """Run, or list, the rows of a method's ablation set. rows: labels with commas, empty = all."""
    from itm_harness.benchmarks.ablations.runs import listing, plan, run_missing
    from itm_harness.benchmarks.ablations.sets import read_set
    from itm_harness.benchmarks.records.store import scan_records
    from itm_harness.benchmarks.runs.accelerator import accelerator_on
    from itm_harness.datasets.spec import find_spec

    ablation = read_set(options.method)
    chosen = ablation.chosen([label.strip() for label in rows.split(",")]) if rows else ablation.rows()
    there = any(folder.is_dir() for folder in options.seen_results)
    records = [r for r, _ in scan_records(*options.seen_results)[0]] if there else []
    planned = plan(ablation, chosen, options, seeds, records)
    if only_list:
        for line in listing(planned, find_spec(options.dataset).name):
            console.print(line, soft_wrap=True, highlight=False, markup=False)
        return
    accelerator = accelerator_on(device, options.precision)
    console.quiet = not accelerator.is_main_process
    run_missing(planned, accelerator, console)
