"""The command that trains: run, alone or as a sweep; what it will take, what it made, what one would do next."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from itm_harness.benchmarks.commands import completion
from itm_harness.benchmarks.commands.help_text import examples, json_option
from itm_harness.benchmarks.commands.next_steps import next_steps
from itm_harness.benchmarks.commands.options import (
    DATASET_HELP,
    METHOD_HELP,
    DataRoot,
    Device,
    Epochs,
    Hash,
    Limit,
    Output,
    Precision,
    Set,
    hash_whole,
    parts,
    run_options,
    seed_numbers,
)
from itm_harness.benchmarks.commands.shown import (
    console,
    print_json,
    progress_console,
    recipe_document,
    record_document,
    show_metrics,
    show_table,
    stop_with,
)
from itm_harness.benchmarks.common.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console

    from itm_harness.benchmarks.records.schema import Record
    from itm_harness.benchmarks.runs.job import RunOptions
    from itm_harness.benchmarks.runs.sweep import Failure, Swept

app = typer.Typer()
command = partial(app.command, rich_help_panel="Train")


@command(
    epilog=examples(
        "itm run --method gpo --dataset demo",
        "itm run --method gpo,hrem --dataset demo --seeds 0,1,2 --jobs 2",
        "itm run --method gpo --dataset f30k --data-root DIR --set optim.lr=3e-4",
        "itm run --method gpo,hrem --dataset f30k,coco --data-root DIR --gpus 0,1",
        "itm run --method gpo --dataset f30k --data-root DIR --launcher submitit",
    )
)
def run(
    method: Annotated[
        str,
        typer.Option(
            help=f"{METHOD_HELP} Several, separated by commas, make a sweep.", autocompletion=completion.methods
        ),
    ],
    dataset: Annotated[
        str, typer.Option(help=f"{DATASET_HELP} Several, separated by commas.", autocompletion=completion.datasets)
    ],
    data_root: DataRoot = None,
    variant: Annotated[
        str,
        typer.Option(
            help="Variants of the method, separated by commas; default: its first.", autocompletion=completion.variants
        ),
    ] = "",
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0",
    set_: Set = [],  # noqa: B006 - typer copies it
    epochs: Epochs = None,
    limit: Limit = None,
    device: Device = None,
    precision: Precision = "fp32",
    output: Output = Path(),
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not resume; run again even if it is done.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show recipe, missing files, expected memory.")] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Log to TensorBoard in the run's folder.")] = False,
    features: Annotated[
        str, typer.Option(help="Where regions lie while training: device, host (memory), map (the file), or auto.")
    ] = "auto",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Only deterministic kernels: the same bits on the same GPU.")
    ] = False,
    compile_: Annotated[bool, typer.Option("--compile", help="torch.compile BERT: other bits, less time.")] = False,
    hash_: Hash = "sampled",
    launcher: Annotated[str, typer.Option(help="local; submitit: a Slurm array; print: the commands.")] = "local",
    jobs: Annotated[int | None, typer.Option(help="Runs at a time, each in a process of its own.", min=1)] = None,
    gpus: Annotated[str, typer.Option(help="GPUs of these processes, separated by commas: 0,1.")] = "",
    slurm: Annotated[list[str], typer.Option(help="An option of sbatch: key=value. Repeatable.")] = [],  # noqa: B006
    as_json: Annotated[
        bool,
        json_option(
            "records (as filed, each with its id), failed (run, reason); with --dry-run for each run its recipe and "
            "expected_memory in bytes."
        ),
    ] = False,
) -> None:
    """Train a method by its recipe, select on dev, evaluate once on test, file a record. Resumes by itself.

    Lists make a sweep: every method on every data set, in every variant, with every seed.
    """
    from itm_harness.benchmarks.common.devices import device_there
    from itm_harness.benchmarks.runs.launch.launcher import Launch, launch
    from itm_harness.benchmarks.runs.sweep import combinations

    options = run_options(
        method, dataset, set_, precision, epochs,
        data_root=data_root, limit=limit, output=output, fresh=fresh, tensorboard=tensorboard, features=features,
        hash_whole=hash_whole(hash_), deterministic=deterministic, compile=compile_,
    )  # fmt: skip
    every = combinations(options, parts(method), parts(dataset), parts(variant))
    if dry_run:
        _show_plans(every, as_json)
        return
    how = Launch(launcher, jobs, parts(gpus), slurm, device if launcher != "local" else device_there(device))
    if as_json and launcher == "print":
        raise RunError("--launcher print writes commands, not a JSON document: leave out --json.")
    log = progress_console(as_json)
    if how.elsewhere:
        swept = launch(every, seed_numbers(seeds), how, log)
    else:
        swept = _sweep_here(every, seed_numbers(seeds), how.device, log, as_json)
    _tell_swept(swept, options, log, as_json)


def _sweep_here(every: list[RunOptions], seeds: list[int], device: str | None, log: Console, as_json: bool) -> Swept:
    """Run a sweep in this process, and show the metrics of each run."""
    from itm_harness.benchmarks.runs.accelerator import accelerator_on
    from itm_harness.benchmarks.runs.sweep import sweep_here
    from itm_harness.benchmarks.training.determinism import deterministic

    def show(record: Record) -> None:
        if not as_json:
            show_metrics(record.metrics, record.id)

    with deterministic(every[0].deterministic):
        accelerator = accelerator_on(device, every[0].precision)
        log.quiet = not accelerator.is_main_process
        return sweep_here(every, seeds, accelerator, log, show)


def _tell_swept(swept: Swept, options: RunOptions, log: Console, as_json: bool) -> None:
    """A sweep as JSON, or what one would do next; then how it ended. log: quiet in all processes but one."""
    if as_json and not log.quiet:
        failed = [{"run": failure.run.label, "reason": failure.reason} for failure in swept.failures]
        print_json({"records": [record_document(record) for record in swept.records], "failed": failed})
    elif swept.records:
        log.print("next:")
        for command in next_steps(swept.records, options):
            log.print(f"  {command}", soft_wrap=True, highlight=False, markup=False)
    _end_sweep(swept.failures)


def _end_sweep(failures: list[Failure]) -> None:
    """List what failed. Exit code 2 where all of it was the input, else 1."""
    if failures:
        lines = [f"failed: {len(failures)}", *(f"{failure.run.label}: {failure.reason}" for failure in failures)]
        stop_with("\n".join(lines), 2 if all(failure.by_input for failure in failures) else 1)


def _show_plans(every: list[RunOptions], as_json: bool) -> None:
    """Recipes with the source of each value, and what memory they take. Raises DataError where a file is missing."""
    from itm_harness.benchmarks.runs.job import Job
    from itm_harness.benchmarks.runs.memory_estimate import expected_memory
    from itm_harness.benchmarks.runs.ready import jobs_to_train

    plans = []
    for job in map(Job, every):
        if not as_json:
            show_table(("key", "value", "source"), job.recipe.rows())
        for member in jobs_to_train(job):
            member.require_files()
        memory = expected_memory(job)
        plans.append({"recipe": recipe_document(job.recipe), "expected_memory": memory})
        if not as_json:
            _show_memory(memory)
    if as_json:
        print_json(plans)


def _show_memory(memory: dict[str, int]) -> None:
    console.print("no file is missing; expected memory of tensors (libraries and mapped files come on top):")
    show_table(
        ("for", "GB"), [(what, f"{size / 1e9:.2f}") for what, size in [*memory.items(), ("sum", sum(memory.values()))]]
    )
