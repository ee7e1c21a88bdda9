"""Records as a pandas frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from itm_harness.benchmarks.records.schema import Direction, Metrics, Record

DIRECTIONS = ("i2t", "t2i")
OF_A_RECORD = (
    "id", "method", "variant", "dataset", "text", "features", "seed", "selection", "flags", "overrides", "precision",
    "selected_epoch", "steps", "diverged", "parameters", "train_seconds", "created",
)  # fmt: skip
OF_A_BENCHMARK = ("rsum", "n_images", "n_texts", "folds")
COLUMNS = (
    "id", "benchmark", "rsum",
    *(f"{direction}_{name}" for direction in DIRECTIONS for name in Direction.model_fields),
    "n_images", "n_texts", "folds", *OF_A_RECORD[1:],
)  # fmt: skip


def records_frame(records: Iterable[Record]) -> pd.DataFrame:
    """A row per record and benchmark, with COLUMNS: fields of Record, Metrics and Direction under their names.

    flags: joined by spaces. overrides: a dict. seed, selected_epoch: Int64, <NA> where there is none.
    """
    rows = [_row(record, benchmark, metrics) for record, benchmark, metrics in _measured(records)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"seed": "Int64", "selected_epoch": "Int64"})


def _measured(records: Iterable[Record]) -> Iterator[tuple[Record, str, Metrics]]:
    for record in records:
        for benchmark, metrics in record.metrics.items():
            yield record, benchmark, metrics


def _row(record: Record, benchmark: str, metrics: Metrics) -> dict[str, Any]:
    row = {name: getattr(record, name) for name in OF_A_RECORD} | {"benchmark": benchmark}
    row |= {name: getattr(metrics, name) for name in OF_A_BENCHMARK}
    for direction in DIRECTIONS:
        row |= {f"{direction}_{name}": value for name, value in getattr(metrics, direction).model_dump().items()}
    return row | {"flags": " ".join(record.flags)}
