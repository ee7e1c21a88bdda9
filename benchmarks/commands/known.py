"""Commands that say what the harness knows: list, recipe."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from itm_harness.benchmarks.commands.options import MethodName, Set, Variant, recipe_overrides
from itm_harness.benchmarks.commands.shown import show_table

app = typer.Typer()
command = partial(app.command, rich_help_panel="What is known")


@command("list")
def list_known(what: Annotated[str, typer.Argument(help="methods, datasets or benchmarks")]) -> None:
    """List what the harness knows: methods, datasets or benchmarks."""
    from itm_harness.benchmarks.commands.listing import listing

    columns, rows = listing(what)
    show_table(columns, rows)


@command()
def recipe(
    method: MethodName,
    dataset: Annotated[str, typer.Option(help="The data set; its files are not needed.")] = "f30k",
    variant: Variant = None,
    set_: Set = [],  # noqa: B006 - typer copies it
) -> None:
    """Print the resolved recipe with the source of each value: paper, official code or ours."""
    from itm_harness.datasets.spec import find_spec
    from itm_harness.methods.hosting import resolve_entry
    from itm_harness.methods.registry import find_method

    overrides = recipe_overrides(set_, None)
    found = resolve_entry(find_method(method, variant), find_spec(dataset).name, variant, overrides)
    show_table(("key", "value", "source"), found.rows())
