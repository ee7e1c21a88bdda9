"""What `bench` measured: one JSON file per method, data set, settings and device."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from itm_harness.benchmarks.common.atomic import write_whole
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.schema import Hardware, Part, Revision

FOLDER = "bench"  # below results/


class StepTimes(Part):
    """Training steps before or after the phases of a method begin."""

    phases: tuple[str, ...] = Field(description="training phases that have begun")
    milliseconds: float = Field(gt=0, description="mean of a step as training runs it, reading beside it")
    samples_per_second: float = Field(gt=0, description="pairs of image and caption")
    phase_milliseconds: dict[str, float] = Field(description="data, encode, loss, backward, optimiser; each waited for")
    plain_milliseconds: float | None = Field(None, gt=0, description="of a plain step; None: not measured")
    operations: int = Field(ge=0, description="floating-point operations of a step's matrix products")
    matrix_share: float = Field(ge=0, description="operations per second, of the measured matrix rate")
    optimiser_copy_share: float = Field(ge=0, description="bytes the optimiser moves per second, of the copy rate")


class GalleryRecord(Part):
    """Evaluation of a gallery."""

    images: int = Field(ge=1, description="images of the gallery")
    texts: int = Field(ge=1, description="captions of the gallery")
    encode_seconds: float = Field(ge=0, description="to encode all of it, reading included")
    score_seconds: float = Field(ge=0, description="to score all pairs")
    rank_seconds: float = Field(ge=0, description="to rank them, as after an epoch")
    results_seconds: float = Field(
        ge=0, description="ranks, folds and best ten of all benchmarks of the data set, as a run stores them"
    )
    plain_rank_seconds: float | None = Field(None, ge=0, description="by sorting each row and column; None: not asked")


class BenchRecord(Part):
    """One measurement."""

    schema_version: Literal[1] = Field(1, description="version of this schema")
    method: str = Field(min_length=1, description="name of the method")
    variant: str = Field(description="variant of the method")
    dataset: str = Field(description="the data set whose shapes were imitated")
    text: str = Field(description="text encoder, random weights: BERT, BiGRU, CLIP")
    embed_size: int | None = Field(description="width of the embeddings")
    precision: Literal["fp32", "bf16"] = Field(description="of training")
    compiled: bool = Field(description="was BERT compiled?")
    features: str = Field(description="where region features lay: the device, or none")
    batch: int = Field(ge=1, description="pairs of a step")
    recipe_batch: int = Field(ge=1, description="pairs of a step in the recipe")
    steps: int = Field(ge=1, description="steps that were averaged over")
    warm_up: int = Field(ge=1, description="steps before them that were not counted")
    step_times: tuple[StepTimes, ...] = Field(
        description="before and after the method's phases begin; none: no training"
    )
    gallery: GalleryRecord = Field(description="evaluation")
    peak_bytes: int | None = Field(None, description="of the fast path: on the GPU, or resident; None: not told")
    matrix_rate: float = Field(gt=0, description="operations per second of a large matrix product in this precision")
    copy_rate: float = Field(gt=0, description="bytes per second of a large copy, read and written")
    recipe_epochs: int = Field(ge=1, description="epochs of the recipe")
    recipe_hours: float | None = Field(
        None, description="its steps and dev evaluations, extrapolated; None: no training"
    )
    parameters: int = Field(ge=0, description="trained parameters")
    threads: int = Field(ge=1, description="threads of the processor that were used")
    hardware: Hardware = Field(description="what it ran on")
    versions: dict[str, str] = Field(description="library -> version")
    code: Revision = Field(description="code revision")
    created: AwareDatetime = Field(description="when, UTC")
    beside: str = Field("", description="what else ran on the machine, as far as it was said")

    @property
    def name(self) -> str:
        """Of its file: the same measurement replaces itself."""
        parts = [self.method, self.variant, self.dataset, self.text, self.precision]
        parts += ["compiled"] if self.compiled else []
        device = self.hardware.cpu if self.hardware.device == "CPU" else self.hardware.device
        return "-".join(_slug(part) for part in (*parts, device) if part)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").lower()


def write_bench(record: BenchRecord, results: Path) -> Path:
    """Store a measurement and return its path. Raises RunError where it cannot be written."""
    path = results / FOLDER / f"{record.name}.json"
    text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(path, lambda file: file.write(f"{text}\n".encode()))
    return path


def read_bench(*results_dirs: Path) -> list[BenchRecord]:
    """All measurements of results folders, by name; of one name the first folder's. Raises RunError on damage."""
    files = {path.name: path for results in reversed(results_dirs) for path in (results / FOLDER).glob("*.json")}
    return [_read(files[name]) for name in sorted(files)]


def _read(path: Path) -> BenchRecord:
    try:
        return BenchRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(
            f"{path} is no measurement of this harness ({type(error).__name__}); measure it anew."
        ) from error
