"""The result store: one JSON record per run, and beside it the ranks and top ten of every query.

`<results>/records/<id>.json` and `<id>.npz`; the id is readable and follows from the run's identity, so the same run
always has the same files. Written whole or not at all; a file of a different run is never overwritten.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from itm_harness.benchmarks.common.atomic import commit, discard, stage, unwritable
from itm_harness.benchmarks.common.errors import RunError

SCHEMA_VERSION = 1
TOP = 10  # the best items kept per query
LARGEST = 10_000_000  # queries of a benchmark: a record that claims more is damaged
Flag = Literal[
    "gallery_score",
    "selected_on_test",
    "extra_pretraining",
    "simulated_inputs",
    "ensemble",
    "limited",
    "nonstandard_size",
    "imported",
    "transfer",
]


def _plain(value: Any) -> Any:
    """What JSON gives back unchanged: tuples become lists, infinities and NaN their names."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _sorted_once(flags: Any) -> Any:
    return sorted({str(flag) for flag in flags}) if isinstance(flags, list | tuple | set | frozenset) else flags


Plain = Annotated[dict[str, Any], BeforeValidator(_plain)]


class Part(BaseModel):
    """A part of a record: unknown keys, NaN and infinities are refused; an object with the same attributes will do."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, from_attributes=True)


class Direction(Part):
    """One direction of retrieval."""

    r1: float = Field(ge=0, le=100, description="R@1 in percent")
    r5: float = Field(ge=0, le=100, description="R@5 in percent")
    r10: float = Field(ge=0, le=100, description="R@10 in percent")
    median: float = Field(ge=1, description="median rank, floor(median) + 1 of ranks from 0")
    mean: float = Field(ge=1, description="mean rank, from 1")
    ties: int = Field(0, ge=0, description="queries whose right item ties with a wrong one")

    @property
    def total(self) -> float:
        """R@1 + R@5 + R@10."""
        return self.r1 + self.r5 + self.r10


class Judged(Part):
    """One direction where people judged which other pairs match as well, in percent."""

    map_at_r: float = Field(ge=0, le=100, description="mAP@R of ECCV Caption")
    r_precision: float = Field(ge=0, le=100, description="R-Precision of ECCV Caption")
    r1: float = Field(ge=0, le=100, description="R@1 of ECCV Caption")
    cxc_r1: float = Field(ge=0, le=100, description="R@1 of CxC")
    cxc_r5: float = Field(ge=0, le=100, description="R@5 of CxC")
    cxc_r10: float = Field(ge=0, le=100, description="R@10 of CxC")


class ECCVCaption(Part):
    """ECCV Caption and CxC, which extend the right pairs of coco-5k."""

    i2t: Judged = Field(description="captions ranked for an image")
    t2i: Judged = Field(description="images ranked for a caption")


class Metrics(Part):
    """What one benchmark measured."""

    i2t: Direction = Field(description="captions ranked for an image")
    t2i: Direction = Field(description="images ranked for a caption")
    rsum: float = Field(description="sum of the six recalls")
    n_images: int = Field(ge=1, le=LARGEST, description="test images, all folds together")
    n_texts: int = Field(ge=1, le=LARGEST, description="test captions, all folds together")
    folds: int = Field(1, ge=1, description="equal consecutive folds of images whose metrics are averaged")
    eccv: ECCVCaption | None = Field(None, description="ECCV Caption and CxC; None: not measured")

    @model_validator(mode="after")
    def _adds_up(self) -> Metrics:
        if abs(self.rsum - self.i2t.total - self.t2i.total) > 1e-6:
            raise ValueError(f"rsum {self.rsum} is not the sum of its six recalls")
        return self


class Epoch(Part):
    """One epoch of training."""

    epoch: int = Field(ge=0, description="its number, from 0")
    dev_rsum: float | None = Field(None, description="rsum over all dev images; None: not evaluated")
    loss: float | None = Field(None, description="mean total loss of its steps")
    lr: float | None = Field(None, ge=0, description="learning rate of the first parameter group")
    skipped: int = Field(0, ge=0, description="steps skipped because loss or gradient was not finite")


class Revision(Part):
    """The code that ran, as git knows it."""

    commit: str = Field("unknown", description="commit hash, or unknown")
    dirty: bool | None = Field(None, description="were there changes that are not committed? None: unknown")


class Hardware(Part):
    """What it ran on; never a host name."""

    device: str = Field(description="name of the GPU, or CPU")
    cpu: str = Field(description="name of the processor")
    cores: int = Field(ge=1, description="processor cores that the run could use")
    processes: int = Field(1, ge=1, description="training processes")


class Memory(Part):
    """Peak memory in bytes."""

    host: int = Field(ge=0, description="largest resident size of the main process, memory-mapped pages included")
    device: int | None = Field(None, ge=0, description="largest allocation on the GPU; None: there is none")


class RunIdentity(Part):
    """What makes a run this run: all of it is known before the run begins."""

    method: str = Field(min_length=1, description="name of the method")
    variant: str = Field("", description="variant of the method, empty where it has none")
    dataset: str = Field(min_length=1, description="name of the data set")
    text: str = Field(description="text encoder as tables show it: BiGRU, BERT")
    features: str = Field(description="image inputs as tables show them: BUTD region")
    seed: int | None = Field(None, description="seed of the run; None where none applies (imported, ensemble)")
    selection: Literal["dev", "last", "test", "none"] = Field(description="how the tested epoch was chosen")
    flags: Annotated[tuple[Flag, ...], BeforeValidator(_sorted_once)] = Field((), description="what sets it apart")
    limit: int | None = Field(None, ge=1, description="a smoke run's limit on the number of images")
    overrides: Plain = Field(default_factory=dict, description="what --set changed, dotted key -> value")
    recipe: Plain = Field(description="the resolved recipe, complete, without the seed")
    data_fingerprint: str = Field(description="hash of the data that was read")
    weights: str = Field("", description="hash of the imported checkpoint or matrix; empty where the run trained")
    precision: str = Field("fp32", description="fp32, or the lower precision of training")

    @model_validator(mode="after")
    def _consistent(self) -> RunIdentity:
        if (self.selection == "test") != ("selected_on_test" in self.flags):
            raise ValueError("selection 'test' and the flag selected_on_test go together")
        if (self.limit is not None) != ("limited" in self.flags):
            raise ValueError("a limit and the flag limited go together")
        return self

    @property
    def group_key(self) -> str:
        """Hash of all that runs of one leaderboard row share: the run's identity without its seed."""
        shared = self.model_dump(mode="json", include=SHARED_BY_A_ROW)
        return hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()

    @property
    def identity(self) -> str:
        """Hash of what makes this run this run. The same run on other hardware or newer code keeps it."""
        return hashlib.sha256(f"{self.group_key} {self.seed}".encode()).hexdigest()

    @property
    def id(self) -> str:
        """Name of its files, such as gpo-f8k-s0-1a2b3c4d."""
        names = [self.method, self.variant if self.variant != self.method else "", self.dataset]
        seed = [] if self.seed is None else [f"s{self.seed}"]
        return "-".join([_slug(name) for name in names if name] + seed + [self.identity[:8]])


SHARED_BY_A_ROW = set(RunIdentity.model_fields) - {"seed", "overrides"}  # what was overridden shows in the recipe


class Record(RunIdentity):
    """One run: what it was, what it measured, and everything that is needed to judge or repeat it."""

    schema_version: Literal[1] = Field(SCHEMA_VERSION, description="version of this schema")
    metrics: dict[str, Metrics] = Field(min_length=1, description="benchmark -> metrics on the test split")
    history: tuple[Epoch, ...] = Field((), description="the epochs in order")
    selected_epoch: int | None = Field(None, ge=0, description="the epoch that was tested, from 0")
    recipe_sources: dict[str, str] = Field(default_factory=dict, description="dotted recipe key -> where it is from")
    code: Revision = Field(description="code revision")
    code_hash: str = Field(description="hash of the code that determines the numbers")
    versions: dict[str, str] = Field(description="library -> version")
    hardware: Hardware = Field(description="what it ran on")
    train_seconds: float | None = Field(None, ge=0, description="wall time of training with dev evaluation")
    total_seconds: float = Field(ge=0, description="wall time of the last command; all of it if never resumed")
    seconds_per_step: float | None = Field(None, ge=0, description="mean wall time of a step, reading included")
    encode_seconds: float | None = Field(None, ge=0, description="wall time of encoding the test split, with reading")
    score_seconds: float | None = Field(None, ge=0, description="wall time of scoring all pairs of the test split")
    sidecars: tuple[str, ...] | None = Field(None, description="sidecars that were read; None: not noted")
    sidecar_sources: dict[str, str] = Field(
        default_factory=dict, description="sidecar -> what made it: an encoder's name, simulated, or as supplied"
    )
    first_steps: dict[str, int] = Field(default_factory=dict, description="phase -> its first step")
    steps: int = Field(0, ge=0, description="training steps")
    skipped_steps: int = Field(0, ge=0, description="steps skipped because loss or gradient was not finite")
    diverged: str | None = Field(None, description="why the run counts as diverged; None: it does not")
    data: dict[str, str] = Field(default_factory=dict, description="split and what was read -> hash of its content")
    peak_memory: Memory = Field(description="peak memory")
    parameters: int = Field(ge=0, description="trained parameters of the model")
    created: AwareDatetime = Field(description="end of the run, UTC")
    command: str = Field("", description="the command that repeats it")

    def asked(self, option: str, otherwise: str) -> str:
        """What its command says: a method or data set of a user's own is named there by its file."""
        words = shlex.split(self.command)
        return words[words.index(option) + 1] if option in words[:-1] else otherwise


def _slug(name: str) -> str:
    """A name that is safe in a path: letters and digits, no more than 40."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:40] or "_"


@dataclass(frozen=True)
class Details:
    """Per-query results of one benchmark; ranks from 0 and within the folds, ties counted against the query.

    i2t_ranks: (n_images,) rank of the best own caption. t2i_ranks: (n_texts,) rank of the own image.
    image_of_text: (n_texts,) the image of each caption. All int32.
    i2t_top: (n_images, k) captions, best first, int32, and i2t_scores: their scores, float32; k = 10 or fewer.
    t2i_top, t2i_scores: (n_texts, k) images and their scores.
    """

    i2t_ranks: np.ndarray
    t2i_ranks: np.ndarray
    image_of_text: np.ndarray
    i2t_top: np.ndarray
    i2t_scores: np.ndarray
    t2i_top: np.ndarray
    t2i_scores: np.ndarray

    def __post_init__(self) -> None:
        """Accepts tensors and any number type. Raises ValueError where the shapes do not belong together."""
        for field in dataclass_fields(self):
            kind = np.float32 if field.name.endswith("scores") else np.int32
            object.__setattr__(self, field.name, np.ascontiguousarray(getattr(self, field.name), dtype=kind))
        self._require_shapes()

    def _require_shapes(self) -> None:
        n_images, n_texts = len(self.i2t_ranks), len(self.t2i_ranks)
        expected = {
            "i2t_ranks": (n_images,),
            "t2i_ranks": (n_texts,),
            "image_of_text": (n_texts,),
            "i2t_top": (n_images, *(self.i2t_top.shape[1:2] or (TOP,))),
            "i2t_scores": self.i2t_top.shape,
            "t2i_top": (n_texts, *(self.t2i_top.shape[1:2] or (TOP,))),
            "t2i_scores": self.t2i_top.shape,
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {shape}")
        if n_texts and not (self.image_of_text.min() >= 0 and self.image_of_text.max() < n_images):
            raise ValueError(f"image_of_text names images outside 0..{n_images - 1}")


DETAIL_ARRAYS = tuple(field.name for field in dataclass_fields(Details))


def record_path(record: RunIdentity, results_dir: Path) -> Path:
    """Where a record's JSON lies."""
    return results_dir / "records" / f"{record.id}.json"


def write_record(record: Record, details: Mapping[str, Details], results_dir: Path) -> Path:
    """Store a run and return the path of its JSON; the same run replaces its own older record.

    details: benchmark -> per-query results, for every benchmark of the record. A crash at any moment leaves a complete
    record or none. Raises RunError where the place is taken by a different run or cannot be written.
    """
    _require_details_of(record, details)
    path = record_path(record, results_dir)
    _refuse_other_run(path, record)
    ranks = path.with_suffix(".npz")
    arrays = {f"{name}/{array}": getattr(d, array) for name, d in details.items() for array in DETAIL_ARRAYS}
    staged_ranks = stage(ranks, lambda file: np.savez_compressed(file, **arrays))
    try:
        staged = stage(path, lambda file: _write_json(file, record))
    except RunError:
        discard(staged_ranks)
        raise
    _publish([(staged_ranks, ranks), (staged, path)])
    return path


def _publish(files: list[tuple[Path, Path]]) -> None:
    """Give staged files their names in order: all, or none. The last one is the one that readers look for."""
    *_, (_, record) = files
    try:
        record.unlink(missing_ok=True)  # an older record never stands beside newer ranks
        for staged, path in files:
            commit(staged, path)
    except (OSError, RunError) as error:
        for path in [p for pair in files for p in pair]:
            discard(path)
        raise error if isinstance(error, RunError) else unwritable(record, error) from error


def _require_details_of(record: Record, details: Mapping[str, Details]) -> None:
    sizes = {name: (m.n_images, m.n_texts) for name, m in record.metrics.items()}
    found = {name: (len(d.i2t_ranks), len(d.t2i_ranks)) for name, d in details.items()}
    if sizes != found:
        raise ValueError(f"details cover {found}, the record's metrics {sizes} (benchmark: images, texts)")


def _refuse_other_run(path: Path, record: Record) -> None:
    if path.exists() and read_record(path).identity != record.identity:
        raise RunError(
            f"{path} holds a different run and is not overwritten; move it away or give another --output folder."
        )


def _write_json(file: BinaryIO, record: Record) -> None:
    text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    file.write(f"{text}\n".encode())


def record_files(results_dir: Path) -> list[Path]:
    """The JSON files of a results folder, by name. Raises RunError where the folder is missing."""
    if not results_dir.is_dir():
        raise RunError(f"results folder {results_dir} does not exist; give the folder that holds records/ (--results).")
    return sorted((results_dir / "records").glob("*.json"))


def read_records(results_dir: Path) -> list[Record]:
    """All records of a results folder, by id. Raises RunError where the folder is missing or a record is damaged."""
    return [read_record(path) for path in record_files(results_dir)]


def scan_records(results_dir: Path) -> tuple[list[tuple[Record, dict[str, Details]]], list[str]]:
    """The records that can be read, with their details by benchmark; and a sentence for each that cannot.

    Raises RunError where the folder is missing.
    """
    found, problems = [], []
    for path in record_files(results_dir):
        try:
            record = read_record(path)
            found.append((record, read_details(record, results_dir)))
        except RunError as error:
            problems.append(str(error))
    return found, problems


def read_record(path: Path) -> Record:
    """The record of one JSON file. Raises RunError where it is damaged, of an unknown schema, or not named by id."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}; check its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"is not valid JSON ({error})") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise RunError(
            f"{path} has schema version {version!r}, this harness reads {SCHEMA_VERSION}; "
            f"update the harness, or move the file out of the folder."
        )
    try:
        record = Record.model_validate(content)
    except (ValidationError, RecursionError) as error:
        raise _damaged(path, _first_error(error)) from error
    if path.stem != record.id:
        raise _misnamed(path, record)
    return record


def _misnamed(path: Path, record: Record) -> RunError:
    """Another file of the same run: a copy, or one that says something else, or the only one."""
    proper = path.with_name(f"{record.id}.json")
    if not proper.exists():
        return RunError(f"{path} holds the record {record.id}; rename it and its .npz to {record.id}.")
    if proper.read_bytes() == path.read_bytes():
        return RunError(f"{path} holds the record {record.id} and is a copy of {proper.name}; remove the copy.")
    return RunError(
        f"{path} holds the record {record.id}, but says otherwise than {proper.name} about the same run; "
        f"keep the right one of them under that name."
    )


def _first_error(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "is nested too deeply"
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"])) or "the record"
    return f"is not a valid record: {key}: {first['msg']}"


def read_details(record: Record, results_dir: Path) -> dict[str, Details]:
    """Benchmark -> per-query results of a record. Raises RunError where the file is missing or does not fit."""
    return read_details_beside(record_path(record, results_dir), record)


def read_details_beside(record_file: Path, record: Record) -> dict[str, Details]:
    """`read_details` of a record that was read from `record_file`, wherever that lies."""
    path = record_file.with_suffix(".npz")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            _require_their_size(arrays.zip, record)
            details = {
                name: Details(**{array: arrays[f"{name}/{array}"] for array in DETAIL_ARRAYS})
                for name in record.metrics
            }
        _require_details_of(record, details)
    except FileNotFoundError as error:
        raise _damaged(path, "is missing") from error
    except Exception as error:  # a damaged archive, or a header in it, raises nearly anything
        raise _damaged(path, f"does not hold the ranks of {record.id} ({error})") from error
    return details


def _require_their_size(archive: zipfile.ZipFile, record: Record) -> None:
    """Raises ValueError where an archive unpacks to more than a record's ranks: a small file can fill the memory."""
    queries = sum(m.n_images + m.n_texts for m in record.metrics.values())
    headers = 4096 * len(DETAIL_ARRAYS) * len(record.metrics)
    allowed = 4 * queries * (2 + 2 * TOP) + headers  # rank, image of text, top items and their scores: 4 bytes each
    announced = sum(member.file_size for member in archive.infolist())
    if announced > allowed:
        raise ValueError(f"it unpacks to {announced:,} bytes, ranks of so many queries to {allowed:,} at most")


def _damaged(path: Path, why: str) -> RunError:
    return RunError(f"{path} {why}; restore it from version control, or remove the record and run its command again.")
