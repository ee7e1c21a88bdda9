"""LEADERBOARD.md: one table per benchmark, a pure function of the records and the published numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from benchmarks.atomic import write_whole
from benchmarks.errors import RunError
from benchmarks.provenance import method_code_hash
from benchmarks.published import Published, name_words, read_published
from benchmarks.records import Details, Metrics, Record, read_details, read_records
from benchmarks.statistics import image_scores, mean_and_std, significance_ranks
from methods.registry import SHIPPED, find_method

NEVER_SHOWN = {"limited", "nonstandard_size"}
NONE = "–"  # noqa: RUF001
RECALLS = [f"{direction} R@{k}" for direction in ("i2t", "t2i") for k in (1, 5, 10)]

# Behind a method's name, explained under the table. Every row without a mark is a pairwise score, trained here,
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
    "unchecked": ("○", "the code behind the numbers is not part of this checkout"),
}

HEADER = """# Leaderboard

Made from the records by `python harness.py leaderboard`; do not edit.

- **Protocol.** Rank of a query's right item = the number of items that score better or equal: a tie never helps.
  Image to text (i2t) takes the best of an image's captions. R@K in percent; rsum is the sum of the six recalls.
  Folds are consecutive and of equal size, and their metrics are averaged. Scores are pairwise unless marked.
- **Selection.** The epoch with the best dev rsum is tested, once; other rules are marked.
- **Rows.** Seeds of the same method, variant, data and recipe share a row: n seeds, mean ± sample standard deviation.
  An override of the recipe is a row of its own.
- **Rank.** 1 + the number of rows that are significantly better in rsum: paired bootstrap over images, hits averaged
  over seeds, two-sided p < 0.05 after Holm's correction over all pairs of the table.
- **Published.** Numbers as printed by their sources. Ours minus published: the difference in rsum of each measured row
  with that method, setting, inputs, text encoder and no override, best first.
"""

DetailsOf = Callable[[Record], Mapping[str, Details]]
HashOf = Callable[[Record], str | None]


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
    def rsum(self) -> float:
        """Mean over seeds."""
        return mean_and_std([m.rsum for m in self.metrics])[0]

    @property
    def overrides(self) -> dict[str, Any]:
        """Overrides of the recipe; one that names the default value is none, if another run of the row did without."""
        return min((r.overrides for r in self.records), key=lambda o: (len(o), json.dumps(o, sort_keys=True)))

    @property
    def label(self) -> tuple[str, ...]:
        """What tells rows apart at a glance."""
        r = self.first
        return _marked(r.method, self.marks), r.variant or NONE, _overrides(self.overrides), r.features, r.text


def write_leaderboard(results_dir: Path) -> Path:
    """Write `<results>/LEADERBOARD.md` from the folder's records. Raises RunError where a record is damaged."""
    hash_of = cache(current_code_hash)
    text = render_leaderboard(
        read_records(results_dir),
        details_of=lambda record: read_details(record, results_dir),
        published=read_published(),
        current_hash_of=lambda record: hash_of(record.method, record.variant),
    )
    path = results_dir / "LEADERBOARD.md"
    write_whole(path, lambda file: file.write(text.encode()))
    return path


def current_code_hash(method: str, variant: str = "") -> str | None:
    """Hash of this checkout's code behind a method, its host's included; None where one is not shipped with it."""
    if method not in SHIPPED:
        return None
    entry = find_method(method, variant)
    if entry.host is not None and variant not in entry.method.variants:  # on a host of a user's own
        return None
    return method_code_hash(entry.files)


def render_leaderboard(
    records: Iterable[Record], details_of: DetailsOf, published: Sequence[Published], current_hash_of: HashOf
) -> str:
    """The whole page. Same records, in any order → same text.

    details_of: a record's per-query results by benchmark. current_hash_of: hash of the code as it is now, None where
    it is not known. Raises RunError where records of one benchmark were measured on different test sets.
    """
    shown = sorted(
        (r for r in records if not NEVER_SHOWN & set(r.flags)), key=lambda r: (r.group_key, r.seed or 0, r.id)
    )
    runs = [_run(r, details_of(r), current_hash_of(r)) for r in shown]
    measured = {b for r in shown for b in r.metrics}
    benchmarks = measured | {p.benchmark for p in published}
    sections = [
        _section(b, _rows(b, [run for run in runs if b in run.scores]), [p for p in published if p.benchmark == b])
        for b in sorted(benchmarks, key=lambda b: (b not in measured, b))  # what was measured comes first
    ]
    return "\n".join([HEADER, *sections])


def _run(record: Record, details: Mapping[str, Details], current_hash: str | None) -> Run:
    scores = {name: image_scores(d) for name, d in details.items()}
    return Run(record, scores, {name: d.image_of_text.tobytes() for name, d in details.items()}, current_hash)


def _rows(benchmark: str, runs: list[Run]) -> list[Row]:
    """Rows of a table, best rsum first."""
    _require_one_test_set(benchmark, runs)
    groups = groupby(runs, key=lambda run: run.record.group_key)  # runs come sorted by it
    rows = [_row(benchmark, list(group)) for _, group in groups]
    return sorted(rows, key=lambda row: (-row.rsum, row.label, row.first.group_key))


def _require_one_test_set(benchmark: str, runs: list[Run]) -> None:
    """Runs are compared image by image: sizes and the images of all captions must agree."""
    found = {(r.record.metrics[benchmark].n_images, r.captions[benchmark]): r.record for r in runs}
    if len(found) > 1:
        sizes = [(r.id, r.metrics[benchmark]) for r in found.values()]
        listed = ", ".join(f"{name} on {m.n_images} images and {m.n_texts} texts" for name, m in sizes)
        raise RunError(f"{benchmark}: records were measured on different test sets ({listed}); remove the wrong one.")


def _row(benchmark: str, runs: list[Run]) -> Row:
    records = tuple(run.record for run in runs)
    marks = {
        *records[0].flags,
        records[0].selection,
        *(_staleness(run.record.code_hash, run.code_hash) for run in runs),
    }
    return Row(
        records=records,
        metrics=tuple(r.metrics[benchmark] for r in records),
        scores=np.mean([run.scores[benchmark] for run in runs], axis=0),
        marks=tuple(mark for mark in MARKS if mark in marks),
    )


def _staleness(recorded: str, current: str | None) -> str:
    if current is None:
        return "unchecked"
    return "" if recorded == current else "stale"


def _section(benchmark: str, rows: list[Row], published: list[Published]) -> str:
    lines = [f"## {benchmark}", ""]
    if rows:
        lines += [_size(rows[0].metrics[0]), "", "### Measured", "", _measured_table(rows), ""]
        lines += _legend(rows)
    else:
        lines += ["No run of this benchmark has been recorded yet.", ""]
    if published:
        lines += ["### Published", "", _published_table(published, rows), ""]
    return "\n".join(lines)


def _size(metrics: Metrics) -> str:
    folds = (
        f"; mean of {metrics.folds} folds of {metrics.n_images // metrics.folds:,} images" if metrics.folds > 1 else ""
    )
    return f"{metrics.n_images:,} images, {metrics.n_texts:,} captions{folds}."


def _measured_table(rows: list[Row]) -> str:
    ranks = significance_ranks(np.stack([row.scores for row in rows], axis=1))
    times_seen = Counter(row.label for row in rows)
    cells = []
    for rank, row in zip(ranks, rows, strict=True):
        method, variant, overrides, features, text = row.label
        if times_seen[row.label] > 1:  # rows of an older recipe, other data or precision: told apart by the group
            overrides = f"{overrides} (group {row.first.group_key[:8]})"
        cells.append([rank, method, variant, overrides, features, text, len(row.records), *_numbers(row)])
    names = ["Rank", "Method", "Variant", "Overrides", "Image inputs", "Text", "n", *RECALLS, "rsum"]
    names += ["Parameters (M)", "Training (min)", "Step (ms)", "Hardware"]
    return _table(names, cells, text_columns={1, 2, 3, 4, 5, len(names) - 1})


def _numbers(row: Row) -> list[str]:
    recalls = np.mean([_recalls(m) for m in row.metrics], axis=0)
    mean, std = mean_and_std([m.rsum for m in row.metrics])
    rsum = f"{mean:.1f}" if std is None else f"{mean:.1f} ± {std:.1f}"
    minutes = _mean_of([r.train_seconds for r in row.records], 1 / 60, 1)
    step = _mean_of([r.seconds_per_step for r in row.records], 1000, 0)
    parameters = f"{row.first.parameters / 1e6:.1f}"
    hardware = " / ".join(sorted({_hardware(r) for r in row.records}))
    return [*(f"{value:.1f}" for value in recalls), rsum, parameters, minutes, step, hardware]


def _mean_of(values: list[float | None], factor: float, decimals: int) -> str:
    """Mean of those that were measured, in another unit."""
    known = [value * factor for value in values if value is not None]
    return f"{np.mean(known):.{decimals}f}" if known else NONE


def _recalls(metrics: Metrics) -> list[float]:
    return [getattr(side, name) for side in (metrics.i2t, metrics.t2i) for name in ("r1", "r5", "r10")]


def _hardware(record: Record) -> str:
    h = record.hardware
    name = f"{h.cpu}, {h.cores} cores" if h.device == "CPU" else h.device
    several = f"{h.processes} x " if h.processes > 1 else ""
    return f"{several}{name}" + ("" if record.precision == "fp32" else f", {record.precision}")


def _marked(method: str, marks: Iterable[str]) -> str:
    symbols = "".join(MARKS[mark][0] for mark in marks)
    return f"{method} {symbols}" if symbols else method


def _overrides(overrides: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_short(value)}" for key, value in sorted(overrides.items())) or NONE


def _short(value: Any) -> str:
    """A value as --set takes it; of a path only the last part."""
    if isinstance(value, str):
        return PurePath(value.replace("\\", "/")).name or value
    return json.dumps(value)


def _legend(rows: list[Row]) -> list[str]:
    used = {mark for row in rows for mark in row.marks}
    lines = [f"{symbol} {meaning}." for mark, (symbol, meaning) in MARKS.items() if mark in used]
    return ["  \n".join(lines), ""] if lines else []


def _published_table(published: list[Published], rows: list[Row]) -> str:
    cells = [
        [
            *(p.method, p.setting or NONE, p.features, p.text, "yes" if p.ensemble else "no"),
            *(f"{value:.1f}" for value in (*p.recalls, p.rsum)),
            ", ".join(f"{row.rsum - p.rsum:+.1f}" for row in rows if _reproduces(row, p)) or NONE,
            p.source,
        ]
        for p in sorted(published, key=lambda p: (-p.rsum, p.method, p.setting, p.features, p.text, p.source))
    ]
    names = [
        "Method",
        "Setting",
        "Image inputs",
        "Text",
        "Ensemble",
        *RECALLS,
        "rsum",
        "Ours minus published",
        "Source",
    ]
    return _table(names, cells, text_columns={0, 1, 2, 3, 4, 13})


def _reproduces(row: Row, published: Published) -> bool:
    """Is it the same method, setting and inputs, as they come?"""
    r = row.first
    same_inputs = (r.features.lower(), r.text.lower()) == (published.features.lower(), published.text.lower())
    same_kind = ("ensemble" in r.flags) == published.ensemble and "simulated_inputs" not in r.flags
    same_name = name_words(f"{r.method} {r.variant}") - {r.text.lower()} == published.names
    return same_name and same_inputs and same_kind and set(row.overrides) <= {"text.bert"}


def _table(names: list[str], rows: list[list[Any]], text_columns: set[int]) -> str:
    import pandas as pd

    escaped = [[_escape(str(cell)) for cell in row] for row in rows]
    align = ["left" if i in text_columns else "right" for i in range(len(names))]
    frame = pd.DataFrame(escaped, columns=names, dtype=object)
    return frame.to_markdown(index=False, tablefmt="github", disable_numparse=True, colalign=align)


def _escape(cell: str) -> str:
    """A cell that stays one cell, and plain text."""
    return " ".join(cell.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").split())
