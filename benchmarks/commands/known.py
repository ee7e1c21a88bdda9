"""Commands that say what the harness knows: list, recipe."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from itm_harness.benchmarks.commands import completion
from itm_harness.benchmarks.commands.help_text import examples, json_option
from itm_harness.benchmarks.commands.options import MethodName, Set, Variant, recipe_overrides
from itm_harness.benchmarks.commands.shown import print_json, recipe_document, show_table

app = typer.Typer()
command = partial(app.command, rich_help_panel="What is known")


@command("list", epilog=examples("itm list methods", "itm list benchmarks --json"))
def list_known(
    what: Annotated[str, typer.Argument(help="methods, datasets or benchmarks", autocompletion=completion.kinds)],
    as_json: Annotated[bool, json_option("an object for each, with the table's columns as keys.")] = False,
) -> None:
    """List what the harness knows: methods, datasets or benchmarks."""
    from itm_harness.benchmarks.commands.listing import listing

    known = listing(what)
    if as_json:
        print_json(known)
        return
    rows = [tuple(", ".join(v) if isinstance(v, list) else str(v) for v in entry.values()) for entry in known]
    show_table(tuple(known[0]), rows)


@command(
    epilog=examples(
        "itm recipe --method gpo --dataset coco", "itm recipe --method hrem --variant full --set optim.lr=3e-4 --json"
    )
)
def recipe(
    method: MethodName,
    dataset: Annotated[
        str, typer.Option(help="The data set; its files are not needed.", autocompletion=completion.datasets)
    ] = "f30k",
    variant: Variant = None,
    set_: Set = [],  # noqa: B006 - typer copies it
    as_json: Annotated[
        bool, json_option("method, variant, dataset, values (nested), sources (dotted key -> source).")
    ] = False,
) -> None:
    """Print the resolved recipe with the source of each value: paper, official code or ours."""
    from itm_harness.datasets.spec import find_spec
    from itm_harness.methods.hosting import resolve_entry
    from itm_harness.methods.registry import find_method

    overrides = recipe_overrides(set_, None)
    found = resolve_entry(find_method(method, variant), find_spec(dataset).name, variant, overrides)
    if as_json:
        print_json(recipe_document(found))
    else:
        show_table(("key", "value", "source"), found.rows())
