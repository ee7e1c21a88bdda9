"""How a number came about: selection, score, extra data, ensemble, weights, versions; and what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from itm_harness.benchmarks.leaderboard.rows import Row
from itm_harness.benchmarks.leaderboard.tables import Column, Link
from itm_harness.benchmarks.records.schema import Record

ORIGIN = (
    Column("Image inputs", "features", left=True),
    Column("Text", "text", left=True),
    Column("Selection", "selection", left=True),
    Column("Score", "score", left=True),
    Column("Extra data", "extra_data", left=True),
    Column("Ensemble", "ensemble", left=True, shown=False),  # stand behind the method's name
    Column("Weights", "weights", left=True, shown=False),
    Column("torch", "torch", left=True),
    Column("Records", "records", left=True),
)
COST = (
    Column("M params", "parameters_million"),
    Column("Train min", "training_minutes", shown=False),  # stands in the headline
    Column("Step ms", "step_milliseconds", 0),
    Column("Encode s", "encode_seconds"),
    Column("Score s", "score_seconds"),
    Column("Host GB", "host_memory_gb"),
    Column("GPU GB", "gpu_memory_gb"),
    Column("Hardware", "hardware", left=True),
)

# Words in the names of sidecars -> what a model other than the one trained here has made.
EXTRA_DATA = {
    "description": "descriptions",
    "caption": "sentence vectors",
    "entities": "entities",
    "relations": "entities",
    "clip": "CLIP",
}
USUAL = ("as supplied", "simulated")  # makers of sidecars that need no note


def origin(row: Row) -> list[Any]:
    """The cells of ORIGIN."""
    r = row.first
    return [
        r.features,
        r.text,
        r.selection,
        "gallery" if "gallery_score" in r.flags else "pairwise",
        ", ".join(extra_data(r)),
        "ensemble" in r.flags,
        _weights(r),
        " / ".join(torch_versions([row])),
        tuple(Link(_seed(run.record), run.file) for run in row.runs),
    ]


def torch_versions(rows: Iterable[Row]) -> list[str]:
    """Those that rows were trained with, each once."""
    return sorted({r.versions["torch"] for row in rows for r in row.records if "torch" in r.versions})


def mixed_notes(rows: Sequence[Row]) -> list[str]:
    """A sentence where rows were not trained with one version of torch."""
    found = torch_versions(rows)
    return [f"Trained with different versions of torch: {', '.join(found)}."] if len(found) > 1 else []


def width(record: Record) -> str:
    """d, the width of the embeddings: of a guest its host's, of an ensemble those of its members; "" if unknown."""
    single = "optim" in record.recipe
    parts = [record.recipe] if single else [part for part in record.recipe.values() if isinstance(part, dict)]
    sizes = (part.get("host", part).get("embed_size") for part in parts)
    return " + ".join(dict.fromkeys(str(size) for size in sizes if size is not None))


def _seed(record: Record) -> str:
    return "record" if record.seed is None else str(record.seed)


def _weights(record: Record) -> str:
    if "imported" in record.flags:
        return "imported"
    return "not trained" if record.selection == "none" else "trained"


def extra_data(record: Record) -> list[str]:
    """What comes from models that were trained on other data, in the order of EXTRA_DATA; and whether it is simulated.

    Of a record that does not note its sidecars, what its labels say.
    """
    told = [f"{record.features} {record.text}"] if record.sidecars is None else record.sidecars
    kinds = [kind for word, kind in EXTRA_DATA.items() if any(word in name.lower() for name in told)]
    return [*dict.fromkeys(kinds), *(["simulated"] if "simulated_inputs" in record.flags else [])]


def encoder_notes(rows: list[Row]) -> list[str]:
    """Which encoder made a row's vectors, where it was not the one of the method's authors."""
    notes = []
    for row in rows:
        made = {name: maker for r in row.records for name, maker in r.sidecar_sources.items() if maker not in USUAL}
        if made:
            notes.append(f"{row.system}: " + ", ".join(f"{name} by {maker}" for name, maker in sorted(made.items())))
    return [f"{note}." for note in sorted(set(notes))]


def skipped_notes(rows: list[Row]) -> list[str]:
    """Runs that left steps out."""
    return [
        f"{row.system}, seed {r.seed}: {r.skipped_steps:,} of {r.steps:,} steps skipped (loss or gradient not finite)."
        for row in rows
        for r in row.records
        if r.skipped_steps
    ]


def cost(row: Row) -> list[Any]:
    """The cells of COST: means over seeds."""
    return [
        row.first.parameters / 1e6,
        row.spread(lambda r: r.train_seconds, 1 / 60),
        row.spread(lambda r: r.seconds_per_step, 1000),
        row.spread(lambda r: r.encode_seconds),
        row.spread(lambda r: r.score_seconds),
        row.spread(lambda r: r.peak_memory.host, 1e-9),
        row.spread(lambda r: r.peak_memory.device, 1e-9),
        " / ".join(sorted({_hardware(r) for r in row.records})),
    ]


def _hardware(record: Record) -> str:
    h = record.hardware
    name = f"{h.cpu}, {h.cores} cores" if h.device == "CPU" else h.device
    several = f"{h.processes} x " if h.processes > 1 else ""
    return f"{several}{name}" + ("" if record.precision == "fp32" else f", {record.precision}")
