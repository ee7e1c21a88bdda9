"""What a shell completes: names of methods, variants, data sets, benchmarks and records; in a list, the last one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import typer

from itm_harness.benchmarks.common.errors import RunError


def kinds(incomplete: str) -> list[str]:
    """What can be listed."""
    return _beginning_with(incomplete, ("methods", "datasets", "benchmarks"))


def methods(incomplete: str) -> list[str]:
    """Shipped methods."""
    from itm_harness.methods.registry import method_names

    return _beginning_with(incomplete, method_names())


def variants(context: typer.Context, incomplete: str) -> list[str]:
    """Variants of the method that the line names."""
    from itm_harness.benchmarks.commands.listing import listing

    asked = str(context.params.get("method") or "").split(",")
    known = {str(entry["method"]): entry["variants"] for entry in listing("methods")}
    return _beginning_with(incomplete, [variant for method in asked for variant in known.get(method, ())])


def datasets(incomplete: str) -> list[str]:
    """Shipped data sets."""
    from itm_harness.datasets.spec import dataset_names

    return _beginning_with(incomplete, dataset_names())


def benchmarks(incomplete: str) -> list[str]:
    """Benchmarks of the shipped data sets."""
    from itm_harness.benchmarks.commands.listing import listing

    return _beginning_with(incomplete, [str(entry["benchmark"]) for entry in listing("benchmarks")])


def records(context: typer.Context, incomplete: str) -> list[str]:
    """Ids of the records in the results folder that the line names."""
    from itm_harness.benchmarks.records.places import seen_results
    from itm_harness.benchmarks.records.store import record_files

    results = Path(context.params.get("results") or "results")
    try:
        return _beginning_with(incomplete, [path.stem for path in record_files(*seen_results(results))])
    except RunError:  # no such folder: the command itself says so
        return []


def _beginning_with(incomplete: str, names: Iterable[str]) -> list[str]:
    """The names that go on as the line begins; before a list's last comma all stays as it is."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in dict.fromkeys(names) if name.startswith(last)]
