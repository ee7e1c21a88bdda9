"""The command line: every group of commands under one name, and how a command ends."""

from __future__ import annotations

import errno
import sys
from importlib import metadata
from typing import Annotated

import typer

from itm_harness.benchmarks.commands import data, known, measure, records, run, sharing, tables, train
from itm_harness.benchmarks.commands.shown import stop_with
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.interrupt import Interrupted
from itm_harness.datasets.errors import DataError
from itm_harness.methods.errors import MethodError

app = typer.Typer(
    help="Train, measure and compare image-text-matching methods under one protocol.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (run, train, measure, tables, records, sharing, data, known):
    app.add_typer(group.app)


def _tell_version(asked: bool) -> None:
    if asked:
        print(f"itm-harness {metadata.version('itm-harness')}")
        raise typer.Exit


@app.callback()
def options_of_all(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What stands before a command."""


def main() -> None:
    """Run a command. Bad input ends with one sentence and exit code 2, a stop on request with 130."""
    sys.stdout.reconfigure(errors="replace")  # a terminal without Unicode shows ? where it lacks a sign
    try:
        app()
    except (DataError, MethodError, RunError) as error:
        stop_with(str(error), 2)
    except Interrupted:
        stop_with("stopped, everything is saved; the same command (without --fresh or --force) goes on from here.", 130)
    except KeyboardInterrupt:
        stop_with("stopped; the same command (without --fresh or --force) goes on from what is saved.", 130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        stop_with(f"{error.filename or 'a file'} cannot be written: {error.strerror}; make room or use --output.", 2)
