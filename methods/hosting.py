"""The recipe of a method that is put on another one: its host's recipe, then its own values, then overrides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from itm_harness.methods.config import MethodConfig
from itm_harness.methods.recipe import ENGINE_SECTIONS, Recipe, flatten, resolve
from itm_harness.methods.registry import Entry

AT_THE_TOP = (*ENGINE_SECTIONS, "phases", *MethodConfig.model_fields)  # the rest of a host's recipe stands in `host`


def resolve_entry(
    entry: Entry, dataset: str, variant: str | None = None, overrides: dict[str, Any] | None = None
) -> Recipe:
    """The recipe of a method as it was found, with its host's values where neither its own file nor --set has any.

    Each value keeps its source. Raises MethodError as `resolve` does.
    """
    overrides = overrides or {}
    own = resolve(entry.description, entry.name, dataset, variant, overrides, entry.recipe)
    if entry.host is None:
        return own
    host = resolve(entry.host.description, entry.host.name, dataset, None, None, entry.host.recipe)
    inherited = {**_hosted(host), **_named(entry, own.variant)}
    added = {key: value for key, value in inherited.items() if not _is_set(key, own.sources)}
    values = {key: value for key, (value, _) in added.items()}
    whole = resolve(entry.description, entry.name, dataset, variant, {**values, **overrides}, entry.recipe)
    return replace(whole, sources={**own.sources, **{key: source for key, (_, source) in added.items()}})


def _named(entry: Entry, variant: str) -> dict[str, tuple[Any, str]]:
    """Key → value and source of what the variant's name stands for."""
    values = entry.description.variant_values(variant)
    return {key: (value, f"the variant's name, {variant}") for key, value in values.items()}


def _hosted(host: Recipe) -> dict[str, tuple[Any, str]]:
    """Key → value and source of all that the host's recipe sets, under the keys of its guest."""
    found = {}
    for key, value in flatten(host.values()):
        sources = [source for name, source in host.sources.items() if _overlap(name, key)]
        if sources:
            ours = key if key.split(".")[0] in AT_THE_TOP else f"host.{key}"
            found[ours] = (value, sources[0])
    return found


def _is_set(key: str, sources: dict[str, str]) -> bool:
    return any(_overlap(key, name) for name in sources)


def _overlap(a: str, b: str) -> bool:
    """Is one key the other, or a part of it (phases.graph and phases.graph.step)?"""
    return f"{a}.".startswith(f"{b}.") or f"{b}.".startswith(f"{a}.")
