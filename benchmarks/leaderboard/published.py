"""What papers and official repositories report, typed: rows of benchmarks/leaderboard/published/published.csv."""

from __future__ import annotations

import csv
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from itm_harness.benchmarks.common.errors import RunError

FILE = Path(__file__).parent / "published" / "published.csv"

# Published (method, setting) whose words are not those of our method and variant.
OUR_NAMES = {("VSE++", "re-run by VSE∞"): "gpo vsepp", ("GSMN", "dense+sparse"): "gsmn full"}


class Printed(BaseModel):
    """Recalls of one system as a source prints them, in percent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    i2t_r1: float
    i2t_r5: float
    i2t_r10: float
    t2i_r1: float
    t2i_r5: float
    t2i_r10: float
    rsum: float
    source: str

    @property
    def recalls(self) -> tuple[float, ...]:
        """R@1, 5, 10 of i2t, then of t2i."""
        return self.i2t_r1, self.i2t_r5, self.i2t_r10, self.t2i_r1, self.t2i_r5, self.t2i_r10


class Published(Printed):
    """One line of the file: (method, setting) on a benchmark, as printed.

    ensemble: mean of two models. features, text: image features and text encoder. Recalls are in percent; rsum is the
    printed one, which may differ from the sum of the recalls by rounding.
    """

    method: str
    setting: str
    features: str
    text: str
    ensemble: bool
    benchmark: str

    @field_validator("ensemble", mode="before")
    @classmethod
    def _zero_or_one(cls, value: Any) -> bool:
        if value not in ("0", "1"):
            raise ValueError("write 0 or 1")
        return value == "1"

    @property
    def rounding(self) -> float:
        """Printed rsum minus the sum of the printed recalls, one decimal."""
        return round(self.rsum - sum(self.recalls), 1)

    @cached_property
    def names(self) -> frozenset[str]:
        """The words that our method and variant would have, see `name_words`."""
        return name_words(OUR_NAMES.get((self.method, self.setting), f"{self.method} {self.setting}"))


def name_words(name: str) -> frozenset[str]:
    """The words that name a system, order and case aside: "GPO+VSD star" and "vsd gpo-star" are the same."""
    return frozenset(re.findall(r"[a-z0-9]+(?:\+\+)?", name.lower()))


def read_published(file: Path = FILE) -> list[Published]:
    """All rows, in file order. Raises RunError where a row is not valid, with its line."""
    rows = []
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            for number, row in enumerate(csv.DictReader(lines), start=2):
                rows.append(_row(file, number, row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{file} cannot be read: {error}; restore it from version control.") from error
    return rows


def _row(file: Path, number: int, row: dict[str, Any]) -> Published:
    try:
        return Published.model_validate({str(key): value for key, value in row.items()})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        column = ".".join(map(str, first["loc"]))
        raise RunError(f"{file}, line {number}: {column}: {first['msg']}; correct that line.") from error
