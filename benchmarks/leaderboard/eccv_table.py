"""The table of ECCV Caption and CxC on coco-5k: what was measured, and what papers print."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.rows import Row
from itm_harness.benchmarks.leaderboard.tables import Column, Marked, System, Table
from itm_harness.benchmarks.records.schema import ECCVCaption

FILE = Path(__file__).parent / "published" / "eccv.csv"
TITLE = "ECCV Caption and CxC"
NOTE = (
    "Right items by further judgements than COCO's own pairs: ECCV Caption (Chun et al., ECCV 2022; 1,261 images and "
    "1,332 captions are queries) and CxC; the eccv_caption library on the same rankings, ties by position."
)
SIDES = ("i2t", "t2i")
ECCV = {"map_at_r": "mAP@R", "r_precision": "R-P", "r1": "R@1"}
CXC = {"cxc_r1": "R@1", "cxc_r5": "R@5", "cxc_r10": "R@10"}
COLUMNS = [
    Column("Method", "method", left=True), Column("Text", "text", left=True), Column("n", "seeds"),
    *(Column(f"ECCV {side} {name}", f"eccv_{side}_{key}") for side in SIDES for key, name in ECCV.items()),
    *(Column(f"CxC {side} {name}", key.replace("_", f"_{side}_")) for side in SIDES for key, name in CXC.items()),
    Column("Source", "source", left=True),
]  # fmt: skip


class PrintedECCV(BaseModel):
    """One line of eccv.csv, in percent, as printed. training: the data set trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: str
    training: str
    i2t_map_at_r: float
    i2t_rprecision: float
    i2t_r1: float
    t2i_map_at_r: float
    t2i_rprecision: float
    t2i_r1: float
    source: str


def read_eccv(file: Path = FILE) -> list[PrintedECCV]:
    """All rows, in file order. Raises RunError where the file cannot be read or a row is not valid."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            return [PrintedECCV.model_validate({str(k): v for k, v in row.items()}) for row in csv.DictReader(lines)]
    except (OSError, UnicodeDecodeError, csv.Error, ValidationError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{file} cannot be read: {reason}; restore it from version control.") from error


def eccv_table(rows: Sequence[Row], printed: Sequence[PrintedECCV]) -> Table | None:
    """Measured rows in the order of the board, printed ones below; None where there is neither.

    Of several seeds those count that have the measures.
    """
    measured = [(row, found) for row in rows if (found := _found(row))]
    cells = [[row.marked, row.first.text, len(found), *_means(found), "measured here"] for row, found in measured]
    if not cells and not printed:
        return None
    return Table("eccv_caption", TITLE, COLUMNS, [*cells, *map(_printed_cells, printed)], [NOTE])


def _found(row: Row) -> list[ECCVCaption]:
    return [m.eccv for m in row.metrics if m.eccv is not None]


def _means(found: list[ECCVCaption]) -> list[float]:
    """Over seeds: ECCV Caption of both directions, then CxC."""
    values = [
        [getattr(getattr(one, side), key) for keys in (ECCV, CXC) for side in SIDES for key in keys] for one in found
    ]
    return np.mean(values, axis=0).tolist()


def _printed_cells(p: PrintedECCV) -> list[Any]:
    eccv = [p.i2t_map_at_r, p.i2t_rprecision, p.i2t_r1, p.t2i_map_at_r, p.t2i_rprecision, p.t2i_r1]
    return [Marked(System(p.method, "")), "", None, *eccv, *[None] * (len(SIDES) * len(CXC)), p.source]
