"""Rows of a leaderboard's tables: records that differ in their seed alone, their marks, and what tells rows apart."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import PurePath
from typing import Any

import numpy as np

from itm_harness.benchmarks.analysis.statistics import image_scores, mean_and_std
from itm_harness.benchmarks.leaderboard.tables import Marks, Spread, System
from itm_harness.benchmarks.records.schema import Details, Metrics, Record

NEVER_SHOWN = {"limited", "nonstandard_size", "transfer"}

# Beside a method's name, explained below the table. Every row without a mark is a pairwise score, trained here,
# selected on dev.
MARKS = {
    "gallery_score": ("†", "the score looks at the whole gallery, not at the pair alone"),
    "selected_on_test": ("‡", "the epoch was chosen on the test set"),
    "extra_pretraining": ("§", "uses models pre-trained on far more data"),
    "simulated_inputs": ("¶", "some inputs are simulated"),
    "ensemble": ("‖", "mean of the similarity matrices of several models"),
    "imported": ("◆", "imported weights or similarities, not trained here"),
    "last": ("△", "the last epoch, without selection"),
    "none": ("▽", "no training, so no selection"),
    "stale": ("◇", "stale: the code behind the numbers has changed since"),
    "diverged": ("⊗", "a run diverged: what it measured says nothing about the method"),
    "unchecked": ("○", "the code behind the numbers is not part of this checkout"),
}


@dataclass(frozen=True)
class Run:
    """A record with what its rows need.

    scores: benchmark -> (n_images,). captions: benchmark -> the images of its captions, as bytes. code_hash: today's,
    None where unknown.
    """

    record: Record
    scores: dict[str, np.ndarray]
    captions: dict[str, bytes]
    code_hash: str | None

    @classmethod
    def of(cls, record: Record, details: Mapping[str, Details], code_hash: str | None) -> Run:
        """details: benchmark -> the record's per-query results."""
        scores = {name: image_scores(d) for name, d in details.items()}
        return cls(record, scores, {name: d.image_of_text.tobytes() for name, d in details.items()}, code_hash)

    @property
    def staleness(self) -> str:
        """stale, unchecked, or nothing."""
        if self.code_hash is None:
            return "unchecked"
        return "" if self.record.code_hash == self.code_hash else "stale"


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seed alone, on one benchmark. scores: (n_images,), averaged over seeds."""

    records: tuple[Record, ...]
    metrics: tuple[Metrics, ...]
    scores: np.ndarray
    marks: tuple[str, ...]

    @property
    def first(self) -> Record:
        """What all of them share can be read here."""
        return self.records[0]

    @property
    def system(self) -> System:
        """Method and variant."""
        return System(self.first.method, self.first.variant)

    @cached_property
    def rsum(self) -> Spread:
        """Over seeds."""
        return Spread(*mean_and_std([m.rsum for m in self.metrics]))

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
        """Is it the method's own recipe? Where BERT's weights lie is no override."""
        return set(self.overrides) <= {"text.bert"}

    @property
    def label(self) -> tuple[str, ...]:
        """What tells rows apart at a glance."""
        r = self.first
        return str(self.system), _overrides(self.overrides), r.features, r.text, " ".join(self.marks)

    def marked(self) -> Marks:
        """Its marks as a cell."""
        return Marks(self.marks, "".join(MARKS[mark][0] for mark in self.marks))


def make_runs(
    records: Iterable[Record],
    details_of: Callable[[Record], Mapping[str, Details]],
    current_hash_of: Callable[[Record], str | None],
) -> list[Run]:
    """Those that may be shown, in the order of their groups and seeds."""
    shown = sorted(
        (r for r in records if not NEVER_SHOWN & set(r.flags)), key=lambda r: (r.group_key, r.seed or 0, r.id)
    )
    return [Run.of(r, details_of(r), current_hash_of(r)) for r in shown]


def make_rows(benchmark: str, runs: list[Run]) -> list[Row]:
    """Rows of a table, best rsum first. runs: of one test set, in the order of `make_runs`."""
    rows = [_row(benchmark, list(group)) for _, group in groupby(runs, key=lambda run: run.record.group_key)]
    return sorted(rows, key=lambda row: (-row.rsum.mean, row.label, row.first.group_key))


def _row(benchmark: str, runs: list[Run]) -> Row:
    records = tuple(run.record for run in runs)
    marks = {*records[0].flags, records[0].selection, *(run.staleness for run in runs)}
    marks |= {"diverged"} if any(r.diverged for r in records) else set()
    return Row(
        records=records,
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


def overrides_shown(rows: list[Row]) -> list[str]:
    """Each row's overrides; rows of an older recipe, other data or precision that look alike name their group."""
    seen = Counter(row.label for row in rows)
    shown = []
    for row in rows:
        text = _overrides(row.overrides)
        group = f"(group {row.first.group_key[:8]})" if seen[row.label] > 1 else ""
        shown.append(f"{text} {group}".strip())
    return shown


def _overrides(overrides: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={short(value)}" for key, value in sorted(overrides.items()))


def short(value: Any) -> str:
    """A value as --set takes it; of a path only the last part."""
    if isinstance(value, str):
        return PurePath(value.replace("\\", "/")).name or value
    return json.dumps(value)
