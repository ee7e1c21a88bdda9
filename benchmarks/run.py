"""The main job: recipe and data → training → test, once → a record."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from benchmarks import provenance
from benchmarks.checkpoint import BEST, load_model, read_about
from benchmarks.engine import Trainer, TrainingState
from benchmarks.errors import RunError
from benchmarks.evaluate import score_split
from benchmarks.protocol import ensemble
from benchmarks.records import Details, Epoch, Record, RunIdentity, read_record, record_path, write_record
from benchmarks.scoring import benchmark_results, benchmarks_of
from datasets.batch import Inputs
from datasets.errors import DataError
from datasets.precomp import Split, open_dataset
from datasets.text import Vocabulary
from methods.base import Method
from methods.recipe import resolve
from methods.registry import find_method


@dataclass(frozen=True)
class RunOptions:
    """What the command line asked for. overrides: dotted recipe key -> value. output: holds results/ and runs/."""

    method: str
    dataset: str
    data_root: Path | None = None
    variant: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    precision: str = "fp32"
    limit: int | None = None
    output: Path = Path()
    fresh: bool = False
    tensorboard: bool = False

    @property
    def results(self) -> Path:
        """Where records go."""
        return self.output / "results"

    def command(self, seed: int) -> str:
        """The command that repeats a run; where data and results lie is left out."""
        parts = ["--method", self.method, "--dataset", self.dataset]
        parts += ["--variant", self.variant] if self.variant else []
        for key, value in self.overrides.items():
            parts += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
        parts += ["--precision", self.precision] if self.precision != "fp32" else []
        parts += ["--limit", str(self.limit)] if self.limit else []
        return f"python harness.py run {shlex.join(parts)} --seeds {seed}"


class Job:
    """A method, its recipe and a data set, resolved; opens each split once and runs one seed at a time."""

    def __init__(self, options: RunOptions) -> None:
        """Raises MethodError or DataError where a name, a recipe value or the data set's folder is wrong."""
        self.options = options
        self.entry = find_method(options.method)
        self.dataset = open_dataset(options.dataset, options.data_root)
        self.kind: type[Method] = self.entry.method
        self.recipe = resolve(
            self.kind, self.entry.name, self.dataset.spec.name, options.variant, options.overrides, self.entry.recipe
        )
        self.config = self.kind.sized(self.recipe.config, self.dataset)
        self.code_hash = provenance.code_hash(provenance.code_behind(self.entry.file))

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """The words of the BiGRU; None with BERT."""
        text = self.config.text
        return None if text.bert else self.dataset.vocabulary(text.inputs())

    @cached_property
    def inputs(self) -> Inputs:
        """What the method reads."""
        return self.kind.bare(self.config).inputs()

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that have to be on disk: dev only where it is selected on."""
        return ("train", "dev", "test") if self.recipe.train.select == "dev" else ("train", "test")

    def require_files(self) -> None:
        """Raises DataError with every file that is missing."""
        missing = self.dataset.missing(self.inputs, self.split_names)
        if missing:
            raise DataError("\n".join(missing))

    def split(self, name: str) -> Split:
        """A split with what the method reads, opened once."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[str, Split]:
        return {
            name: self.dataset.split(name, self.inputs, self.vocabulary, self.options.limit)
            for name in self.split_names
        }

    def build(self, seed: int) -> Method:
        """The method with the initial weights of this seed."""
        torch.manual_seed(seed)
        return self.kind(self.config)

    def identity(self, seed: int) -> RunIdentity:
        """What makes this run this run, known before it begins."""
        values = {**self.recipe.values(), **self.config.model_dump(mode="json")}
        benchmarks_of(self.split("test"))  # refuses before training what could not be measured after it
        prints = [self.split(name).fingerprint() for name in self.split_names]
        return RunIdentity(
            method=self.entry.name,
            variant=self.recipe.variant,
            dataset=self.dataset.spec.name,
            text=self.kind.text_label(self.config),
            features=self.kind.features_label(self.config, self.dataset.spec.features),
            seed=seed,
            flags=run_flags(self.kind.bare(self.config), self.split("test"), self.options.limit),
            selection=self.recipe.train.select,
            limit=self.options.limit,
            overrides=self.options.overrides,
            recipe=values,
            data_fingerprint=hashlib.sha256("".join(prints).encode()).hexdigest()[:16],
            precision=self.options.precision,
        )

    def about(self, seed: int) -> dict[str, Any]:
        """What is written into model files: enough to rebuild the method for `evaluate`."""
        return {
            "method": self.entry.name,
            "variant": self.recipe.variant,
            "dataset": self.dataset.spec.name,
            "config": self.config.model_dump(mode="json"),
            "vocabulary": self.vocabulary.to_json() if self.vocabulary else None,
            "seed": seed,
            "code_hash": self.code_hash,
        }


def run(options: RunOptions, seeds: list[int], accelerator: Accelerator, console: Console) -> list[Record]:
    """Train, select, test and record every seed; a variant that is an ensemble trains its members first."""
    job = Job(options)
    members = job.kind.ensembles.get(job.recipe.variant)
    if members is None:
        job.require_files()
        return [run_seed(job, seed, accelerator, console) for seed in seeds]
    jobs = [Job(replace(options, variant=member)) for member in members]
    for member in jobs:
        member.require_files()
    return [_run_ensemble(job, jobs, seed, accelerator, console) for seed in seeds]


def run_seed(job: Job, seed: int, accelerator: Accelerator, console: Console) -> Record:
    """One run, from wherever an earlier, identical command got to; a finished one is only reported."""
    identity = job.identity(seed)
    folder = job.options.output / "runs" / identity.id
    done = _finished(job, identity, folder, console)
    if done is not None:
        return done
    began = time.monotonic()
    with _locked(folder) if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            _begin_folder(job, folder, console)
        accelerator.wait_for_everyone()
        method = job.build(seed)
        dev = job.split("dev") if "dev" in job.split_names else None
        trainer = Trainer(
            method, job.recipe, job.split("train"), dev, folder, seed, accelerator, console,
            job.about(seed), job.options.tensorboard,
        )  # fmt: skip
        if trainer.resume():
            console.print(f"{identity.id}: goes on at epoch {trainer.state.epoch + 1}, step {trainer.state.step}")
        else:
            method.fit(job.split("train"))
        return _test(job, identity, folder, method, trainer.run(), accelerator, began, console)


def _finished(job: Job, identity: RunIdentity, folder: Path, console: Console) -> Record | None:
    """The record of this very run, unless it is to be made anew, its code has changed, or it was made elsewhere."""
    path = record_path(identity, job.options.results)
    if job.options.fresh or not path.exists() or not (folder / BEST).exists():
        return None
    record = read_record(path)
    if record.code_hash != job.code_hash:
        console.print(f"{identity.id}: its record is stale (the code has changed since); running it again")
        return None
    console.print(f"{identity.id}: already done, see {path}; --fresh runs it again")
    return record


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises RunError where another process works on the same run, or the folder cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "lock", "w")  # noqa: SIM115 - held for as long as the run
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror}; choose another folder with --output.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"{folder} is in use: the same run is going on in another process; wait for it.") from error
        yield


def _begin_folder(job: Job, folder: Path, console: Console) -> None:
    """Throw away what --fresh or changed code makes useless; note which code trains here."""
    note = folder / "run.json"
    begun_with = json.loads(note.read_text())["code_hash"] if note.exists() else job.code_hash
    if begun_with != job.code_hash:
        console.print(f"{folder.name}: the code has changed since its checkpoints were written; starting over")
    if job.options.fresh or begun_with != job.code_hash:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        (folder / BEST).unlink(missing_ok=True)
    note.write_text(json.dumps({"code_hash": job.code_hash}))


def _test(
    job: Job,
    identity: RunIdentity,
    folder: Path,
    method: Method,
    state: TrainingState,
    accelerator: Accelerator,
    began: float,
    console: Console,
) -> Record:
    """Load the selected epoch, evaluate test once, file the record."""
    best = folder / BEST
    load_model(best, method)
    similarity = score_split(
        method, job.split("test"), job.recipe.train.eval_batch_size, accelerator.device, accelerator.mixed_precision
    )
    trained = {
        "history": [Epoch(**entry) for entry in state.history],
        "selected_epoch": read_about(best)["epoch"],
        "train_seconds": state.step_seconds + state.dev_seconds,
        "total_seconds": time.monotonic() - began,
        "seconds_per_step": state.step_seconds / state.step,
        "first_steps": state.first_steps,
        "steps": state.step,
        "skipped_steps": state.skipped,
        "parameters": sum(p.numel() for group in method.parameter_groups() for p in group.parameters),
    }
    return _file(job, identity, similarity, trained, accelerator, console)


def _file(
    job: Job,
    identity: RunIdentity,
    similarity: Tensor,
    trained: dict[str, Any],
    accelerator: Accelerator,
    console: Console,
) -> Record:
    trained = {**trained, "recipe_sources": job.recipe.sources, "command": job.options.command(identity.seed)}
    record, details = measured(identity, similarity, job.split("test"), job.code_hash, accelerator, trained)
    if accelerator.is_main_process:
        console.print(f"record: {write_record(record, details, job.options.results)}", soft_wrap=True)
    return record


def measured(
    identity: RunIdentity,
    similarity: Tensor,
    test: Split,
    code_hash: str,
    accelerator: Accelerator,
    trained: dict[str, Any],
) -> tuple[Record, dict[str, Details]]:
    """The record of a run and its per-query details. trained: the fields that tell of its training."""
    metrics, details = benchmark_results(similarity, test)
    record = Record(
        **identity.model_dump(),
        **trained,
        metrics=metrics,
        code=provenance.git_revision(),
        code_hash=code_hash,
        versions=provenance.versions(),
        hardware=provenance.hardware(accelerator.device, accelerator.num_processes),
        peak_memory=provenance.peak_memory(accelerator.device),
        created=datetime.now(UTC).replace(microsecond=0),
    )
    return record, details


def run_flags(method: Method, test: Split, limit: int | None) -> list[str]:
    """What sets a run apart, as far as its method and data decide. method: may be bare."""
    spec, inputs = test.dataset.spec, method.inputs()
    conditions = {
        "gallery_score": method.scope == "gallery",
        "extra_pretraining": method.extra_pretraining,
        "simulated_inputs": bool({*inputs.image_sidecars, *inputs.text_sidecars} & set(spec.simulated)),
        "limited": limit is not None,
        "nonstandard_size": any(benchmark.images != test.n_images for benchmark in spec.benchmarks),
    }
    return [flag for flag, holds in conditions.items() if holds]


def _run_ensemble(job: Job, members: list[Job], seed: int, accelerator: Accelerator, console: Console) -> Record:
    """Train the members, then re-score the test split from their encodings and average the matrices in float32."""
    began = time.monotonic()
    records = [run_seed(member, seed, accelerator, console) for member in members]
    matrices = []
    for member in members:
        method = member.build(seed).to(accelerator.device)
        load_model(job.options.output / "runs" / member.identity(seed).id / BEST, method)
        size = member.recipe.train.eval_batch_size
        matrices.append(score_split(method, member.split("test"), size, accelerator.device))
    identity = job.identity(seed)
    recipe = {r.variant: r.recipe for r in records}
    flags = sorted({*identity.flags, *(f for r in records for f in r.flags), "ensemble"})
    identity = identity.model_copy(update={"recipe": recipe, "flags": tuple(flags)})
    trained = {
        "train_seconds": sum(r.train_seconds for r in records),
        "total_seconds": time.monotonic() - began,
        "steps": sum(r.steps for r in records),
        "skipped_steps": sum(r.skipped_steps for r in records),
        "parameters": sum(r.parameters for r in records),
    }
    return _file(job, identity, ensemble(matrices), trained, accelerator, console)
