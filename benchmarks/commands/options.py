"""Options that several commands share, and what their values mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from itm_harness.benchmarks.commands import completion
from itm_harness.benchmarks.common.errors import RunError

if TYPE_CHECKING:
    from itm_harness.benchmarks.runs.job import RunOptions

T = TypeVar("T")

METHOD_HELP = "A method's name, path/to/file.py[:Class] of your own, or vsd:HOST for one with VSD."
DATASET_HELP = "A data set's name, or path/to/data.yaml of your own."
MethodName = Annotated[str, typer.Option("--method", help=METHOD_HELP, autocompletion=completion.methods)]
DatasetName = Annotated[str, typer.Option("--dataset", help=DATASET_HELP, autocompletion=completion.datasets)]
RecordName = Annotated[
    str,
    typer.Argument(
        help="A record: its id, the beginning of it, or the path of its .json.", autocompletion=completion.records
    ),
]
DataRoot = Annotated[
    Path | None, typer.Option(envvar="ITM_DATA", help="Folder that holds <name>/precomp or <name>_precomp.")
]
Variant = Annotated[
    str | None,
    typer.Option(help="A variant of the method; default: its first.", autocompletion=completion.variants),
]
Set = Annotated[list[str], typer.Option("--set", help="Override a recipe value: key=value. Repeatable.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N; default: a GPU if there is one.")]
Precision = Annotated[str, typer.Option(help="fp32, or bf16 for mixed precision.")]
Epochs = Annotated[int | None, typer.Option(help="Override the number of epochs.", min=1)]
Limit = Annotated[int | None, typer.Option(help="Smoke run on the first N images; never on the leaderboard.", min=2)]
Output = Annotated[Path, typer.Option(help="Folder that gets results/local/ and runs/.")]
Results = Annotated[Path, typer.Option("--results", help="Folder with contributed records, and yours in local/.")]
Contributed = Annotated[
    bool, typer.Option("--contributed", help="Of contributed records alone, into --results itself, not its local/.")
]
Hash = Annotated[str, typer.Option("--hash", help="Of files over 1 GB: sampled blocks, or full, from end to end.")]


def run_options(
    method: str, dataset: str, set_: list[str], precision: str, epochs: int | None = None, **others: Any
) -> RunOptions:
    """The options of a run; others: by the names of their fields. Raises RunError on an unknown word."""
    from itm_harness.benchmarks.runs.job import RunOptions

    return RunOptions(method, dataset, overrides=recipe_overrides(set_, epochs), precision=precision, **others)


def recipe_overrides(set_: list[str], epochs: int | None) -> dict[str, Any]:
    """What --set and --epochs override: dotted recipe key -> value."""
    from itm_harness.methods.recipe import parse_override

    return dict(parse_override(text) for text in set_) | ({"train.epochs": epochs} if epochs else {})


def place_of_tables(results: Path, contributed: bool) -> tuple[Path, Sequence[Path]]:
    """The folder that gets tables, and folders whose records stand in them beside its own."""
    from itm_harness.benchmarks.records.places import own_results

    return (results, ()) if contributed else (own_results(results), (results,))


def hash_whole(hash_: str) -> bool:
    """Are large files to be hashed from end to end? Raises RunError on another word."""
    if hash_ not in ("sampled", "full"):
        raise RunError(f"--hash {hash_} is not known; use sampled or full.")
    return hash_ == "full"


def parts(text: str) -> list[str]:
    """The parts of a list with commas, without empty ones."""
    return [part.strip() for part in text.split(",") if part.strip()]


def seed_numbers(text: str) -> list[int]:
    """Seeds of a list with commas, each once. Raises RunError where one is no whole number."""
    seeds = list(dict.fromkeys(part.strip() for part in text.split(",")))
    if not all(seed.isdecimal() for seed in seeds):
        raise RunError(f"--seeds {text}: write whole numbers from 0, separated by commas, for example --seeds 0,1,2.")
    return [int(seed) for seed in seeds]


def batch_items(text: str) -> int | None:
    """Items of a batch, None for auto. Raises RunError on anything else."""
    if text != "auto" and (not text.isdecimal() or int(text) == 0):
        raise RunError(f"--batch-size {text}: write auto, or a whole number from 1.")
    return None if text == "auto" else int(text)


def required(value: T | None, option: str) -> T:
    """The value of an option that `evaluate` needs. Raises RunError where it is missing."""
    if value is None:
        raise RunError(f"evaluate needs {option}; see `itm evaluate --help`.")
    return value
