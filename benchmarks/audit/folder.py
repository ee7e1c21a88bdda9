"""`audit`: what a results folder says, checked against itself, against the data at hand and against this checkout."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from itm_harness.benchmarks.audit.data import DataAtHand
from itm_harness.benchmarks.audit.tables import changed_tables, generated_files
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.build import current_code_hash
from itm_harness.benchmarks.protocol.divergence import collapse
from itm_harness.benchmarks.protocol.ranks import direction_metrics
from itm_harness.benchmarks.records.opening import find_record
from itm_harness.benchmarks.records.places import seen_results
from itm_harness.benchmarks.records.schema import Details, Direction, Metrics, Record
from itm_harness.benchmarks.records.store import read_details_beside, read_record, record_files
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.spec import find_spec
from itm_harness.methods.errors import MethodError
from itm_harness.methods.registry import SHIPPED, find_method

PUBLISHED = Path(__file__).parents[1] / "leaderboard" / "published"
SUMS = "SHA256SUMS"  # in PUBLISHED, as sha256sum writes it
ROUNDING = 1e-6


@dataclass
class Report:
    """wrong: what does not hold. notes: what could not be checked, or is worth knowing. checked: what was looked at.

    stale, unchecked: ids of records of other code, and of code that is not here.
    """

    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


def audit(results_dir: Path, names: Sequence[str], data_root: Path | None, whole: bool, report: Report) -> None:
    """Check records, and with no names all, contributed ones and the user's own, the tables that were made of
    contributed ones, and the published numbers; fills `report`.

    whole: also hash large files from end to end. Raises RunError where a folder or a named record is not there.
    """
    files = [find_record(name, results_dir) for name in names] or record_files(*seen_results(results_dir))
    data = DataAtHand(data_root, whole)
    for file in files:
        _audit_record(file, data, report)
    report.notes += [*data.unavailable(), *_stale_notes(report)]
    report.checked.append(f"{len(files)} record{'s' if len(files) != 1 else ''}")
    if not names:
        report.wrong += changed_published()
        report.checked.append("the published numbers")
        report.wrong += changed_tables(results_dir)
        report.checked.append(f"{len(generated_files(results_dir))} generated tables")


def _audit_record(file: Path, data: DataAtHand, report: Report) -> None:
    try:
        record = read_record(file)
        details = read_details_beside(file, record)
    except RunError as error:
        report.wrong.append(str(error))
        return
    report.wrong += [f"{record.id}: {sentence}" for sentence in record_faults(record, details, data)]
    current = current_hash(record.method, record.variant)
    if current is None:
        report.unchecked.append(record.id)
    elif current != record.code_hash:
        report.stale.append(record.id)


def record_faults(record: Record, details: dict[str, Details], data: DataAtHand) -> list[str]:
    """A sentence for each thing about a record that does not hold. details: of the record, by benchmark."""
    return [*wrong_metrics(record, details), *wrong_flags(record), *data.changed(record)]


current_hash = cache(current_code_hash)


def _stale_notes(report: Report) -> list[str]:
    told = {
        "stale, the code behind the numbers has changed since (run again to renew)": report.stale,
        "the code behind the numbers is not part of this checkout": report.unchecked,
    }
    return [f"{what}: {len(names)}: {', '.join(names)}." for what, names in told.items() if names]


def wrong_metrics(record: Record, details: dict[str, Details]) -> list[str]:
    """A sentence for each metric that does not follow from the stored ranks."""
    wrong = []
    for benchmark, metrics in record.metrics.items():
        d = details[benchmark]
        fold = len(d.i2t_ranks) // metrics.folds  # images
        for side, ranks, of in (
            ("i2t", d.i2t_ranks, np.arange(len(d.i2t_ranks)) // fold),
            ("t2i", d.t2i_ranks, d.image_of_text // fold),
        ):
            if metrics.n_images % metrics.folds or ranks.min() < 0:
                wrong.append(f"{benchmark}: the stored ranks are no ranks of {metrics.folds} equal folds.")
                continue
            parts = [direction_metrics(torch.from_numpy(ranks[of == f])) for f in range(metrics.folds)]
            wrong += [
                f"{benchmark}: {side} {name} is {stored:g}, the stored ranks give {found:g}."
                for name, stored, found in _pairs(getattr(metrics, side), parts)
                if abs(stored - found) > ROUNDING
            ]
        wrong += _wrong_ties(benchmark, metrics)
    return wrong


def _pairs(stored: Direction, parts: list[Direction]) -> Iterable[tuple[str, float, float]]:
    for name in ("r1", "r5", "r10", "median", "mean"):
        yield name, getattr(stored, name), sum(getattr(part, name) for part in parts) / len(parts)


def _wrong_ties(benchmark: str, metrics: Metrics) -> list[str]:
    return [
        f"{benchmark}: {ties} queries of {side} tie, of {queries}."
        for side, ties, queries in (
            ("i2t", metrics.i2t.ties, metrics.n_images),
            ("t2i", metrics.t2i.ties, metrics.n_texts),
        )
        if ties > queries
    ]


def wrong_flags(record: Record) -> list[str]:
    """A sentence for each thing that a record says of itself and that the rest of it denies."""
    conditions = {
        "the flag imported needs the hash of weights": "imported" not in record.flags or record.weights != "",
        "the flag transfer and the data set of the training go together": ("transfer" in record.flags)
        == ("trained_on" in record.recipe),
        "more steps were skipped than made": record.skipped_steps <= record.steps,
        "the tested epoch is not the one that its selection rule chooses": _follows_its_rule(record),
        "its embeddings have collapsed, and it is not marked as diverged": record.diverged is not None
        or record.steps == 0
        or collapse(record.metrics) is None,
        "simulated inputs were read, and no flag says so": "simulated" not in record.sidecar_sources.values()
        or "simulated_inputs" in record.flags,
        **_size_conditions(record),
        **_method_conditions(record),
    }
    return [f"{sentence}." for sentence, holds in conditions.items() if not holds]


def _follows_its_rule(record: Record) -> bool:
    if not record.history or record.selected_epoch is None or "ensemble" in record.flags:
        return True
    asked = record.recipe.get("train", {}).get("select", record.selection)
    if record.selection in ("dev", "last") and asked != record.selection:
        return False
    if record.selection == "dev":
        best = max(record.history, key=lambda e: -1.0 if e.dev_rsum is None else e.dev_rsum)  # the first of equals
        return record.selected_epoch == best.epoch
    return record.selected_epoch == record.history[-1].epoch


def _size_conditions(record: Record) -> dict[str, bool]:
    """Flags that follow from the description of the data set, where that is one of this checkout."""
    sizes = _sizes(record.dataset)
    if sizes is None:
        return {}
    images = {m.n_images for m in record.metrics.values()}
    usual = all({size} == images for size in sizes)
    return {
        "the flag nonstandard_size and the number of test images do not fit each other": usual
        == ("nonstandard_size" not in record.flags),
    }


@cache
def _sizes(dataset: str) -> list[int] | None:
    """Fixed numbers of test images, one per benchmark that has one; None where the data set is not one of these."""
    try:
        return [b.images for b in find_spec(dataset).benchmarks if b.images is not None]
    except DataError:
        return None


def _method_conditions(record: Record) -> dict[str, bool]:
    """Flags that follow from the method and its configuration, where the method is one of this checkout."""
    if record.method not in SHIPPED or "ensemble" in record.flags:
        return {}
    try:
        method = find_method(record.method, record.variant or None).description
        config = method.Config(**{k: v for k, v in record.recipe.items() if k in method.Config.model_fields})
    except (MethodError, ValidationError):  # of an older version of the method
        return {}
    bare = method.bare(config)
    return {
        f"the flag {flag} does not fit the method": (flag in record.flags) == holds
        for flag, holds in {
            "gallery_score": bare.scope == "gallery",
            "extra_pretraining": bare.extra_pretraining,
        }.items()
    }


def changed_published(folder: Path = PUBLISHED) -> list[str]:
    """A sentence for each file of published numbers that is not what its hash in SHA256SUMS says."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        sums = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
    except (OSError, ValueError) as error:
        return [f"{folder / SUMS} cannot be read ({error}); restore it from version control."]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.csv")}
    return [
        f"{folder / name}: the published numbers are not those that {SUMS} was written for; restore the file, or, "
        f"where a source was added, write {SUMS} anew with sha256sum *.csv."
        for name in sorted({*found, *sums})
        if found.get(name) != sums.get(name)
    ]
