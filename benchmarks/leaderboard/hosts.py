"""Methods that are put on another one, against that one: is the difference more than chance, whatever its sign?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from itm_harness.benchmarks.analysis.evidence import Comparison, SeedVariance, compare, holm
from itm_harness.benchmarks.leaderboard.rows import Row, short
from itm_harness.benchmarks.leaderboard.tables import System
from itm_harness.benchmarks.records.schema import Record
from itm_harness.methods.config import MethodConfig
from itm_harness.methods.recipe import ENGINE_SECTIONS, flatten

# A method -> the host it extends, by (method, variant). VSD's hosts are named by its variants: gpo-star is on GPO.
HOSTS = {"vssr": [System("gpo", "gpo")], "aahr": [System("hrem", "fusion")]}
VSD_HOSTS = {
    "gpo": [System("gpo", "gpo")],
    "hrem": [System("hrem", "fusion")],
    "clip": [System("clip", "projection"), System("clip", "zeroshot")],
    "clip-finetune": [System("clip", "finetune"), System("clip", "zeroshot")],
}
OWN_INPUTS = {"extra_pretraining", "simulated_inputs"}  # what the extension brings along


@dataclass(frozen=True)
class AgainstHost:
    """A row and its host's, on the same images. adjusted: p after Holm's correction over the table.

    differing: recipe values that both have and that differ.
    """

    row: Row
    host: Row
    comparison: Comparison
    adjusted: float
    differing: str


def hosts_of(record: Record) -> list[System]:
    """The systems that a method extends; none for a method that stands alone."""
    if record.method == "vsd":
        host = record.variant.rpartition("-")[0]
        return VSD_HOSTS.get(host, [System(host, "")] if host else [])
    return HOSTS.get(record.method, [])


def against_hosts(
    extended: Sequence[Row], rows: Sequence[Row], seeds: SeedVariance
) -> tuple[list[AgainstHost], list[str]]:
    """Every row with a host against the host's row that is most alike; and a sentence where there is none.

    extended: whose hosts are looked for. rows: all of the benchmark, hosts with overrides among them. seeds: how much
    theirs differ.
    """
    pairs = [(row, system, _host_row(row, system, rows)) for row in extended for system in hosts_of(row.first)]
    found = [(row, host) for row, _, host in pairs if host is not None]
    compared = [compare(row.sample, host.sample, seeds) for row, host in found]
    adjusted = holm(np.array([c.p for c in compared]))
    results = [
        AgainstHost(row, host, c, float(p), ", ".join(differing_values(row.first, host.first)))
        for (row, host), c, p in zip(found, compared, adjusted, strict=True)
    ]
    return results, _without_host(pairs)


def _host_row(row: Row, system: System, rows: Sequence[Row]) -> Row | None:
    """The host's row with the same kind of score whose recipe is most alike; of equals, the one as it comes."""

    def fits(other: Row) -> bool:
        same_kind = set(other.first.flags) - OWN_INPUTS == set(row.first.flags) - OWN_INPUTS
        same_text = other.first.text == row.first.text
        named = other.first.method == system.method and system.variant in ("", other.first.variant)
        return named and same_kind and same_text

    candidates = [other for other in rows if fits(other)]
    return min(
        candidates,
        key=lambda o: (
            len(differing_values(row.first, o.first)),
            not o.as_it_comes,
            -len(o.records),
            o.first.group_key,
        ),
        default=None,
    )


def _without_host(pairs: list[tuple[Row, System, Row | None]]) -> list[str]:
    """Of several possible hosts one is enough."""
    lonely = {str(row.system): system for row, system, host in reversed(pairs) if host is None}
    for row, _, host in pairs:
        if host is not None:
            lonely.pop(str(row.system), None)
    return [
        f"{name}: no row of {system} with the same text encoder and kind of score stands beside it."
        for name, system in sorted(lonely.items())
    ]


def differing_values(extended: Record, host: Record) -> list[str]:
    """Settings that both runs have and that differ, as `key value (host: value)`; BERT's only where there is BERT."""
    ours, theirs = _settings(extended), _settings(host)
    unread = set() if extended.text == "BERT" else {"bert_lr_factor"}
    return [
        f"{key} {_shown(ours[key])} (host: {_shown(theirs[key])})"
        for key in sorted(ours.keys() & theirs.keys() - unread)
        if ours[key] != theirs[key]
    ]


def _settings(record: Record) -> dict[str, Any]:
    """Recipe values by dotted key, and what else a run is set to; of a guest those of its host and of training."""
    values = dict(flatten(record.recipe))
    if "host" in record.recipe:
        shared = (*ENGINE_SECTIONS, "phases", *MethodConfig.model_fields)
        own = {key: value for key, value in values.items() if key.split(".")[0] in shared}
        values = own | {key.removeprefix("host."): v for key, v in values.items() if key.startswith("host.")}
    return {**values, "precision": record.precision, "train.select": record.selection}


def _shown(value: Any) -> str:
    return ", ".join(f"{k} {short(v)}" for k, v in value.items()) if isinstance(value, dict) else short(value)
