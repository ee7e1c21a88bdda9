"""What the charts draw, as plain numbers: every leaderboard row as the mean over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from itm_harness.benchmarks.ablations.report import NOT_RUN
from itm_harness.benchmarks.leaderboard.rows import Row
from itm_harness.benchmarks.leaderboard.tables import NONE, Interval, Page
from itm_harness.benchmarks.records.schema import Details, Record
from itm_harness.benchmarks.report.styles import Style, key_of

KS = (*range(1, 11), 12, 15, 20, 25, 30, 40, 50, 70, 100)  # recall curves are drawn through these
DECIMALS = 3

Store = Mapping[str, Mapping[str, Details]]  # record id -> benchmark -> its per-query results


def row_series(benchmark: str, row: Row, label: str, bounds: Interval, details: Store, style: Style) -> dict:
    """A row for all charts of a benchmark. bounds: of its rsum."""
    return {
        "key": key_of(row),
        "label": label,
        "method": row.first.method,
        "seeds": len(row.records),
        "colour": style.colour,
        "shape": style.shape,
        "dash": style.dash,
        "rsum": _rounded(row.rsum.mean),
        "low": _rounded(bounds.low),
        "high": _rounded(bounds.high),
        "minutes": _rounded(row.spread(lambda r: r.train_seconds, 1 / 60)),
        "parameters": _rounded(row.first.parameters / 1e6),
        "i2t": recall_curve([details[r.id][benchmark].i2t_ranks for r in row.records]),
        "t2i": recall_curve([details[r.id][benchmark].t2i_ranks for r in row.records]),
        "epochs": learning_curve(row.records),
    }


def recall_curve(ranks: Sequence[np.ndarray]) -> list[float]:
    """R@K in percent for each K of KS, mean over seeds. ranks: one array (n_queries,) per seed, from 0."""
    return [_rounded(float(np.mean([100 * (r < k).mean() for r in ranks]))) for k in KS]


def learning_curve(records: Sequence[Record]) -> list[list[float]]:
    """Epoch from 1, and dev rsum: mean, lowest and highest over the seeds that evaluated it."""
    by_epoch: dict[int, list[float]] = {}
    for epoch in (e for r in records for e in r.history if e.dev_rsum is not None):
        by_epoch.setdefault(epoch.epoch + 1, []).append(epoch.dev_rsum)
    return [[n, *map(_rounded, (float(np.mean(v)), min(v), max(v)))] for n, v in sorted(by_epoch.items())]


def ablation_series(page: Page) -> list[dict[str, Any]]:
    """The tables of ABLATIONS.md that something was run of: bars of the change against the full row.

    missing: the labels of rows that were not run. published: the printed change, on the paper's data.
    """
    found = []
    for section in page.sections:
        for table in section.tables:
            rows = table.records()
            learnt = table.notes[0]
            bars = [_bar(row) for row in rows if row["change"] is not None]
            if bars:
                about = [f"{section.title}, {section.intro}", learnt]
                missing = [label for note in table.notes for label in _not_run(note)]
                found.append({"title": table.title, "about": about, "bars": bars, "missing": missing})
    return found


def _not_run(note: str) -> list[str]:
    return note.removeprefix(NOT_RUN).removesuffix(".").split("; ") if note.startswith(NOT_RUN) else []


def _bar(row: Mapping[str, Any]) -> dict[str, Any]:
    names = {"label": "row", "change": "change", "low": "change_low", "high": "change_high", "seeds": "seeds"}
    bar = {name: row[key] for name, key in names.items()}
    return {**bar, "published": row.get("published_change"), "overrides": row["overrides"] or NONE}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), DECIMALS)
