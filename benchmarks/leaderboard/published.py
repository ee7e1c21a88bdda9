"""What papers and official repositories report, typed, and which of it a row of ours repeats."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.rows import Row

FOLDER = Path(__file__).parent / "published"
FILE, OPEN_CLIP = FOLDER / "published.csv", FOLDER / "openclip_zeroshot.csv"
ENCODED_BY = "clip_images"  # the sidecar whose maker tells which CLIP model a row's vectors are of


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
    """One line of published.csv: (method, setting) on a benchmark, as printed.

    ensemble: mean of two models. features, text: image features and text encoder. Recalls are in percent; rsum is the
    printed one, which may differ from the sum of the recalls by rounding. our_method, our_variant, our_features: what a
    record that repeats it says; our_method is empty where none can. our_source: part of the name of the encoder of its
    vectors. note: what must be known of the row.
    """

    method: str
    setting: str
    features: str
    text: str
    ensemble: bool
    benchmark: str
    our_method: str = ""
    our_variant: str = ""
    our_features: str = ""
    our_source: str = ""
    note: str = ""

    @field_validator("ensemble", mode="before")
    @classmethod
    def _zero_or_one(cls, value: Any) -> bool:
        if value not in ("0", "1"):
            raise ValueError("write 0 or 1")
        return value == "1"

    @property
    def name(self) -> str:
        """Method and setting."""
        return f"{self.method}, {self.setting}" if self.setting else self.method

    @property
    def rounding(self) -> float:
        """Printed rsum minus the sum of the printed recalls, one decimal."""
        return round(self.rsum - sum(self.recalls), 1)

    @property
    def key(self) -> tuple[str, str, str, str, bool]:
        """Method, variant, image inputs, text encoder and ensemble of a run that repeats it."""
        return self.our_method, self.our_variant, self.our_features, self.text, self.ensemble


class OpenCLIP(Printed):
    """One line of openclip_zeroshot.csv: a model of open_clip with pretrained weights, not trained further."""

    model: str
    pretrained: str
    params_m: float
    flops_b: float
    benchmark: str


Line = TypeVar("Line", bound=Printed)


def is_repeated_by(published: Published, row: Row) -> bool:
    """Is the row the same method, setting and inputs, as they come?"""
    r = row.first
    key = (r.method, r.variant, r.features, r.text, "ensemble" in r.flags)
    same_encoder = published.our_source in r.sidecar_sources.get(ENCODED_BY, "")
    return key == published.key and same_encoder and "simulated_inputs" not in r.flags and row.as_it_comes


def read_published() -> list[Published]:
    """All printed rows, and of open_clip's those that a run repeats. Raises RunError where a file is damaged."""
    rows = list(read_lines(FILE, Published))
    sources = {p.our_source for p in rows} - {""}
    return rows + [
        _as_published(line) for line in read_lines(OPEN_CLIP, OpenCLIP) if f"{line.model}, {line.pretrained}" in sources
    ]


def _as_published(line: OpenCLIP) -> Published:
    weights = f"{line.model}, {line.pretrained}"
    return Published(
        **line.model_dump(exclude={"model", "pretrained", "params_m", "flops_b"}), method="CLIP",
        setting=f"zero-shot {weights}", features="raw image", text="CLIP", ensemble="0", our_method="clip",
        our_variant="zeroshot", our_features="CLIP vectors", our_source=weights,
    )  # fmt: skip


def read_lines(file: Path, kind: type[Line]) -> Iterator[Line]:
    """The lines of a file, in order. Raises RunError where one is not valid, with its number."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            for number, line in enumerate(csv.DictReader(lines), start=2):
                yield _checked(file, number, line, kind)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RunError(f"{file} cannot be read: {error}; restore it from version control.") from error


def _checked(file: Path, number: int, line: dict[str, Any], kind: type[Line]) -> Line:
    try:
        return kind.model_validate({str(key): value for key, value in line.items()})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        column = ".".join(map(str, first["loc"]))
        raise RunError(f"{file}, line {number}: {column}: {first['msg']}; correct that line.") from error
