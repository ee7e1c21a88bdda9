"""Rows of a leaderboard's tables: records that differ in their seed alone, their marks, and what tells rows apart."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import PurePath
from typing import Any

import numpy as np

from itm_harness.benchmarks.analysis.evidence import Sample
from itm_harness.benchmarks.analysis.statistics import image_scores, mean_and_std
from itm_harness.benchmarks.leaderboard.tables import Marked, Spread, System
from itm_harness.benchmarks.records.schema import Details, Metrics, Record

NEVER_SHOWN = {"limited", "nonstandard_size", "transfer"}

MARKS = {  # mark -> the words beside a method's name, and what they mean
    "gallery_score": ("gallery score", "the score looks at the whole gallery, not at the pair alone"),
    "selected_on_test": ("chosen on test", "the epoch was chosen on the test set"),
    "extra_pretraining": ("extra data", "uses models pre-trained on far more data"),
    "simulated_inputs": ("simulated", "inputs that another model would have made were simulated"),
    "ensemble": ("ensemble", "mean of the similarity matrices of several models"),
    "imported": ("imported", "imported weights or similarities, not trained here"),
    "last": ("last epoch", "the last epoch, without selection"),
    "none": ("untrained", "no training, so no selection"),
    "diverged": ("diverged", "a run diverged: what it measured says nothing about the method"),
}


@dataclass(frozen=True, eq=False)
class Run:
    """A record with what its rows need.

    scores: benchmark -> (n_images,) each image's share of the rsum. captions: benchmark -> digest of the images of its
    captions. file: its JSON, as a link from the page.
    """

    record: Record
    scores: dict[str, np.ndarray]
    captions: dict[str, bytes]
    file: str = ""

    @classmethod
    def of(cls, record: Record, details: Mapping[str, Details], file: str = "") -> Run:
        """details: benchmark -> the record's per-query results."""
        scores = {name: image_scores(d, record.metrics[name].folds) for name, d in details.items()}
        captions = {name: hashlib.sha256(d.image_of_text.tobytes()).digest() for name, d in details.items()}
        return cls(record, scores, captions, file)


@dataclass(frozen=True, eq=False)
class Row:
    """Runs that differ in their seed alone, on one benchmark. scores: (n_images,), averaged over seeds."""

    benchmark: str
    runs: tuple[Run, ...]
    metrics: tuple[Metrics, ...]
    scores: np.ndarray
    marks: tuple[str, ...]

    @property
    def records(self) -> tuple[Record, ...]:
        """By seed."""
        return tuple(run.record for run in self.runs)

    @property
    def first(self) -> Record:
        """What all of them share can be read here."""
        return self.runs[0].record

    @property
    def system(self) -> System:
        """Method and variant."""
        return System(self.first.method, self.first.variant)

    @property
    def marked(self) -> Marked:
        """The system with its marks in words."""
        return Marked(self.system, self.marks, tuple(MARKS[mark][0] for mark in self.marks))

    @cached_property
    def rsum(self) -> Spread:
        """Over seeds."""
        return Spread(*mean_and_std([m.rsum for m in self.metrics]))

    @cached_property
    def sample(self) -> Sample:
        """Its rsum as evidence."""
        return Sample(self.scores, np.array([m.rsum for m in self.metrics]), self.first.seeded)

    def spread(self, value_of: Callable[[Record], float | None], factor: float = 1.0) -> float | None:
        """Mean over the seeds whose records have the value, in another unit; None where none has it."""
        known = [value * factor for value in map(value_of, self.records) if value is not None]
        return float(np.mean(known)) if known else None

    @property
    def overrides(self) -> dict[str, Any]:
        """Overrides of the recipe; one that names the default value is none, if another run of the row did without."""
        return min((r.overrides for r in self.records), key=lambda o: (len(o), json.dumps(o, sort_keys=True)))

    @property
    def as_it_comes(self) -> bool:
        """Is it the method's own recipe? The text encoder, and where BERT's weights lie, is no override."""
        return set(self.overrides) <= {"text.bert"}

    @property
    def label(self) -> str:
        """What tells rows apart at a glance: the system, and its overrides."""
        return " ".join(filter(None, [str(self.system), overrides_text(self.overrides)]))

    @property
    def kind(self) -> tuple[Any, ...]:
        """What rows of one recipe share when the recipe or the data has changed between them."""
        r = self.first
        return r.method, r.variant, r.features, r.text, r.precision, r.selection, r.flags


def make_runs(found: Iterable[tuple[Record, Mapping[str, Details], str]]) -> list[Run]:
    """Those that may be shown, in the order of their groups and seeds. found: record, its details, its link."""
    runs = [Run.of(*one) for one in found if not NEVER_SHOWN & set(one[0].flags)]
    return sorted(runs, key=lambda run: (run.record.group_key, run.record.seed or 0, run.record.id))


def make_rows(benchmark: str, runs: list[Run]) -> list[Row]:
    """Rows of a table, best rsum first. runs: of one test set, in the order of `make_runs`."""
    rows = [_row(benchmark, list(group)) for _, group in groupby(runs, key=lambda run: run.record.group_key)]
    return sorted(rows, key=lambda row: (-row.rsum.mean, row.label, row.first.group_key))


def _row(benchmark: str, runs: list[Run]) -> Row:
    records = [run.record for run in runs]
    marks = {*records[0].flags, records[0].selection}
    marks |= {"diverged"} if any(r.diverged for r in records) else set()
    return Row(
        benchmark=benchmark,
        runs=tuple(runs),
        metrics=tuple(r.metrics[benchmark] for r in records),
        scores=np.mean([run.scores[benchmark] for run in runs], axis=0),
        marks=tuple(mark for mark in MARKS if mark in marks),
    )


def on_one_test_set(benchmark: str, runs: list[Run]) -> tuple[list[Run], list[str]]:
    """Those measured on the test set that most share, and a sentence for each of the others.

    Runs are compared image by image: sizes and the images of all captions must agree.
    """
    by_set: dict[tuple[int, int, bytes], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.record.id):
        metrics = run.record.metrics[benchmark]
        by_set[metrics.n_images, metrics.folds, run.captions[benchmark]].append(run)
    kept = max(by_set.values(), key=len, default=[])
    others = [run for group in by_set.values() if group is not kept for run in group]
    names = {run.record.id for run in kept}
    sentences = [_other_test_set(benchmark, run.record, kept) for run in others]
    return [run for run in runs if run.record.id in names], sentences


def _other_test_set(benchmark: str, record: Record, kept: list[Run]) -> str:
    def size(r: Record) -> str:
        m = r.metrics[benchmark]
        return f"{m.n_images:,} images and {m.n_texts:,} captions"

    first = kept[0].record
    return (
        f"{benchmark}: {record.id} was measured on a different test set ({size(record)}) than {first.id} "
        f"({size(first)}) and {len(kept) - 1} more; it is left out of that table: remove the record that is wrong."
    )


def overrides_text(overrides: Mapping[str, Any]) -> str:
    """As --set takes them, without folders."""
    return ", ".join(f"{key}={short(value)}" for key, value in sorted(overrides.items()))


def short(value: Any) -> str:
    """A value as --set takes it; of a path only the last part."""
    if isinstance(value, str):
        return PurePath(value.replace("\\", "/")).name or value
    return json.dumps(value)
