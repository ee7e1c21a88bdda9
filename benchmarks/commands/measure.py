"""Commands that measure what is there already: evaluate, verify, bench."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itm_harness.benchmarks.commands import completion
from itm_harness.benchmarks.commands.help_text import examples, json_option
from itm_harness.benchmarks.commands.options import (
    DataRoot,
    Device,
    Limit,
    Output,
    Precision,
    Results,
    Set,
    Variant,
    place_of_tables,
    required,
    run_options,
)
from itm_harness.benchmarks.commands.shown import console, print_metrics, progress_console, show_table

if TYPE_CHECKING:
    from itm_harness.benchmarks.bench.record import BenchRecord

app = typer.Typer()
command = partial(app.command, rich_help_panel="Measure")


@command(
    epilog=examples(
        "itm evaluate --method gpo --dataset demo --checkpoint DIR/best.safetensors",
        "itm evaluate --similarity DIR/sims.npy --benchmark f30k-1k --json",
    )
)
def evaluate(
    method: Annotated[
        str | None, typer.Option(help="The checkpoint's method.", autocompletion=completion.methods)
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="The data set whose test split is scored.", autocompletion=completion.datasets)
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="An official .pth, or a best.safetensors of ours.")] = None,
    train_dataset: Annotated[
        str | None,
        typer.Option(help="The data set that the checkpoint was trained on, if another: zero-shot transfer."),
    ] = None,
    similarity: Annotated[Path | None, typer.Option(help=".npy, rows = images, columns = captions.")] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(help="The benchmark that --similarity belongs to.", autocompletion=completion.benchmarks),
    ] = None,
    caption_ids: Annotated[
        Path | None, typer.Option(help="COCO's id of each column of --similarity: adds ECCV Caption and CxC.")
    ] = None,
    data_root: DataRoot = None,
    variant: Variant = None,
    set_: Set = [],  # noqa: B006 - typer copies it
    limit: Limit = None,
    device: Device = None,
    precision: Precision = "fp32",
    output: Output = Path(),
    as_json: Annotated[bool, json_option("metrics by benchmark, as a record holds them.")] = False,
) -> None:
    """Score a checkpoint on a data set, or any system's similarity matrix on a benchmark."""
    if similarity is not None:
        from itm_harness.benchmarks.protocol.matrix_file import evaluate_matrix_file

        found = evaluate_matrix_file(similarity, required(benchmark, "--benchmark"), caption_ids)
        print_metrics(found, str(similarity), as_json)
        return
    from itm_harness.benchmarks.runs.accelerator import accelerator_on
    from itm_harness.benchmarks.runs.checkpoint_evaluation import evaluate_checkpoint

    chosen = required(checkpoint, "--checkpoint or --similarity")
    options = run_options(
        required(method, "--method"), required(dataset, "--dataset"), set_, precision,
        data_root=data_root, variant=variant, limit=limit, output=output,
    )  # fmt: skip
    accelerator = accelerator_on(device, precision)
    metrics = evaluate_checkpoint(options, chosen, accelerator, progress_console(as_json), train_dataset)
    print_metrics(metrics, str(chosen), as_json)


@command(epilog=examples("itm verify tests/golden", "itm verify tests/golden/gpo"))
def verify(folder: Annotated[Path, typer.Argument(help="Golden cases: tests/golden, or any folder of cases.")]) -> None:
    """Run golden cases through the modules that users use; exit code 1 where a number differs."""
    from itm_harness.benchmarks.verify.run import verify as verify_cases

    reports = verify_cases(folder)
    columns = ("case", "quantity", "max abs error", "tolerance", "verdict")
    show_table(columns, [row for report in reports for row in report.rows()])
    for report in reports:
        console.print(report.summary(), soft_wrap=True, highlight=False)
    ran = [report for report in reports if report.not_run is None]
    console.print(f"{sum(r.passed for r in ran)} of {len(ran)} cases passed, {len(reports) - len(ran)} not run")
    raise typer.Exit(0 if all(report.passed for report in reports) else 1)


@command(
    epilog=examples(
        "itm bench --method gpo,gsmn", "itm bench --device cuda --precision bf16 --steps 20", "itm bench --table"
    )
)
def bench(
    method: Annotated[str, typer.Option(help="Methods, separated by commas; default: all.")] = "",
    dataset: Annotated[str, typer.Option(help="f30k or coco, whose shapes are imitated; no data are needed.")] = "f30k",
    text: Annotated[str, typer.Option(help="bert or bigru, with random weights; recipe: the method's own.")] = "recipe",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    precision: Precision = "fp32",
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile BERT.")] = False,
    steps: Annotated[
        int | None, typer.Option(help="Steps to average over; default: 4, on a GPU 50, after some others.", min=1)
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Pairs of a step; default: 8, on a GPU the recipe's.", min=2)
    ] = None,
    images: Annotated[
        int | None, typer.Option(help="Images of the gallery; default: 20, on a GPU all test images.", min=2)
    ] = None,
    plain: Annotated[bool, typer.Option(help="Time the plain path too (slow).")] = True,
    beside: Annotated[str, typer.Option(help="What else runs on the machine, for the record.")] = "",
    results: Results = Path("results"),
    table: Annotated[bool, typer.Option("--table", help="Only write BENCHMARKS.md from the records.")] = False,
    contributed: Annotated[bool, typer.Option("--contributed", help="File them in --results itself.")] = False,
) -> None:
    """Time, memory and shares of the device's rates, per method: training steps, fast and plain, and evaluation.

    Measurements go to results/local/bench/, and results/local/BENCHMARKS.md shows them beside the project's own.
    """
    from itm_harness.benchmarks.bench.measure import BenchOptions, chosen_methods, measure
    from itm_harness.benchmarks.bench.page import write_page
    from itm_harness.benchmarks.bench.record import write_bench
    from itm_harness.benchmarks.common.devices import device_there

    folder, also = place_of_tables(results, contributed)
    if not table:
        options = BenchOptions(
            dataset, text, device_there(device), precision, compile_, steps, batch, images, plain, beside
        )
        for name in chosen_methods(method):
            record = measure(name, options)
            _show_bench(record)
            console.print(f"record: {write_bench(record, folder)}", soft_wrap=True, highlight=False)
    console.print(f"written: {write_page(folder, also)}", soft_wrap=True, highlight=False, markup=False)


def _show_bench(record: BenchRecord) -> None:
    from itm_harness.benchmarks.bench.page import shown_number

    quantities = {
        "pairs per second": lambda one: f"{one.samples_per_second:.1f}",
        "fast step, ms": lambda one: shown_number(one.milliseconds),
        "plain step, ms": lambda one: "" if one.plain_milliseconds is None else shown_number(one.plain_milliseconds),
        "share of the matrix rate": lambda one: f"{100 * one.matrix_share:.0f} %",
    }
    for phase in record.step_times[0].phase_milliseconds if record.step_times else ():
        quantities[f"{phase}, ms"] = lambda one, phase=phase: shown_number(one.phase_milliseconds[phase])
    rows = [(name, *(tell(one) for one in record.step_times)) for name, tell in quantities.items()]
    columns = ("", *(f"phases begun: {', '.join(one.phases) or 'none'}" for one in record.step_times))
    show_table(columns, rows, f"{record.method}, {record.text}, batch {record.batch}, {record.precision}")
