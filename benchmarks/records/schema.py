"""What a record holds: one run, what it measured, and the ranks and top ten of every query."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

SCHEMA_VERSION: Final = 1

TOP = 10  # the best items kept per query

JUDGED_BENCHMARK = "coco-5k"  # whose pairs were judged further: ECCV Caption, CxC

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


Recall = Annotated[float, Field(ge=0, le=100)]
Recalls = tuple[Recall, Recall, Recall, Recall, Recall, Recall]


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
    dev_recalls: Recalls | None = Field(None, description="i2t R@1, R@5, R@10, then t2i, in percent; None: not noted")
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
    threads: int | None = Field(None, ge=1, description="threads that computed, of each process; None: not noted")
    instructions: str = Field("", description="the processor's instructions that the kernels used: AVX2, AVX512")


class Memory(Part):
    """Peak memory in bytes."""

    host: int = Field(ge=0, description="largest resident size of the main process, memory-mapped pages included")
    device: int | None = Field(None, ge=0, description="largest allocation on the GPU; None: there is none")


class Checkpoint(Part):
    """The trained model that was tested; it stays on the machine that trained it, or is published elsewhere."""

    file: str = Field(min_length=1, description="its path below runs/")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of the file")


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
    def seeded(self) -> bool:
        """Does a seed have a part in its numbers? Not where nothing was ever trained."""
        return self.selection != "none" or "imported" in self.flags

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
    versions: dict[str, str] = Field(description="library, operating system, BLAS, CUDA, driver -> version")
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
    pretrained: dict[str, str] = Field(
        default_factory=dict, description="recipe key and file of pre-trained weights that were read -> its SHA-256"
    )
    checkpoint: Checkpoint | None = Field(None, description="the trained model; None: not noted, or none of its own")
    protocol: int | None = Field(None, ge=1, description="version of the protocol that measured; None: not noted")
    peak_memory: Memory = Field(description="peak memory")
    parameters: int = Field(ge=0, description="trained parameters of the model")
    created: AwareDatetime = Field(description="end of the run, UTC")
    command: str = Field("", description="the command that repeats it")
    submitter: str = Field("", description="who contributed it; empty: not said")
    fewer_seeds: str = Field("", description="why it was contributed with fewer than three seeds of its row")

    @property
    def made_by(self) -> str:
        """What its command is: run, ensemble; empty without one. Older records say `python harness.py`, not `itm`."""
        words = shlex.split(self.command.removeprefix("python harness.py ").removeprefix("itm "))
        return words[0] if words else ""

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


TRANSFER, TRAINED_ON = "transfer", "trained_on"  # a flag of records, and a key of their recipe: the data set
