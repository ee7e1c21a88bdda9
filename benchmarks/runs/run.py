"""The main job: recipe and data → training → test, once → a record."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from itm_harness.benchmarks.common.atomic import write_whole
from itm_harness.benchmarks.common.errors import NotFiniteError, RunError
from itm_harness.benchmarks.protocol.divergence import UNSCORED, collapse
from itm_harness.benchmarks.protocol.evaluate import fits
from itm_harness.benchmarks.protocol.judgements import with_judgements
from itm_harness.benchmarks.protocol.pair_scores import Streamed, constant_scores, mean_of
from itm_harness.benchmarks.protocol.scoring import benchmark_results
from itm_harness.benchmarks.protocol.timed_scoring import Scored, score_split_timed
from itm_harness.benchmarks.protocol.version import PROTOCOL_VERSION
from itm_harness.benchmarks.records import provenance
from itm_harness.benchmarks.records.machine import system_versions
from itm_harness.benchmarks.records.schema import Checkpoint, Details, Epoch, Record, RunIdentity
from itm_harness.benchmarks.records.store import write_record
from itm_harness.benchmarks.runs.feature_placement import place_features
from itm_harness.benchmarks.runs.finished import (
    DONE,
    current,
    ensemble_identity,
    filed,
    finished_ensemble,
    recorded,
    run_folder,
)
from itm_harness.benchmarks.runs.job import Job, RunOptions, data_contents
from itm_harness.benchmarks.runs.pretrained import file_hash, pretrained_hashes
from itm_harness.benchmarks.runs.ready import Ready, require_equal_shares
from itm_harness.benchmarks.runs.sidecar_files import sidecar_sources
from itm_harness.benchmarks.training.checkpoint import BEST, load_model, read_about, save_model
from itm_harness.benchmarks.training.compilation import compile_encoders
from itm_harness.benchmarks.training.engine import Trainer, TrainingState
from itm_harness.datasets.split import Split
from itm_harness.methods.base import Method


def run(options: RunOptions, seeds: Iterable[int], accelerator: Accelerator, console: Console) -> list[Record]:
    """Train, select, test and record every seed; a variant that is an ensemble trains its members first."""
    ready = Ready(options)
    ready.say_what_will_be_missing(console)
    return [run_ready(ready, seed, accelerator, console) for seed in ready.different(seeds)]


def run_ready(ready: Ready, seed: int, accelerator: Accelerator, console: Console) -> Record:
    """Train, select, test and record one seed."""
    if ready.is_ensemble:
        return _run_ensemble(ready.job, ready.members, seed, accelerator, console)
    return run_seed(ready.job, seed, accelerator, console)


def run_seed(job: Job, seed: int, accelerator: Accelerator, console: Console) -> Record:
    """One run, from wherever an earlier, identical command got to; a finished one is only reported."""
    require_equal_shares(job, accelerator.num_processes)
    identity = job.identity(seed)
    folder = run_folder(job, identity)
    done = _finished(job, identity, console)
    if done is not None:
        return done
    began = time.monotonic()
    if accelerator.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(accelerator.device)
    with _locked(folder) if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            _begin_folder(job, folder, console)
        accelerator.wait_for_everyone()
        method = job.build(seed)
        train = _train if job.trains else _fit_alone
        state = train(job, identity, folder, method, seed, accelerator, console)
        record = _test(job, identity, folder, method, state, accelerator, began, console)
        if accelerator.is_main_process:
            write_whole(folder / DONE, lambda file: file.write(job.code_hash.encode()))
    accelerator.free_memory()  # else every seed's model and optimiser stay
    return record


def _train(
    job: Job, identity: RunIdentity, folder: Path, method: Method, seed: int, accelerator: Accelerator, console: Console
) -> TrainingState:
    """Train from wherever an earlier command got to; leaves the selected model in `folder`."""
    dev = job.split("dev") if "dev" in job.split_names else None
    read_often = [split for split in (job.split("train"), dev) if split is not None]
    placed = place_features(read_often, job.options.features, accelerator.device, accelerator.num_processes)
    if placed is not None:
        console.print(placed, soft_wrap=True, highlight=False)
    if job.options.compile:
        compile_encoders(method)
    trainer = Trainer(
        method, job.recipe, job.split("train"), dev, folder, seed, accelerator, console,
        job.about(seed), job.options.tensorboard,
    )  # fmt: skip
    if trainer.resume():
        console.print(
            f"{identity.id}: goes on at epoch {trainer.state.epoch + 1}, step {trainer.state.step}", soft_wrap=True
        )
    else:
        method.fit(job.split("train"))
    return trainer.run()


def _fit_alone(
    job: Job, identity: RunIdentity, folder: Path, method: Method, seed: int, accelerator: Accelerator, console: Console
) -> TrainingState:
    """For a method without anything to train: the model is what `fit` leaves."""
    method.to(accelerator.device).fit(job.split("train"))
    if accelerator.is_main_process:
        save_model(folder / BEST, method, {**job.about(seed), "epoch": None, "dev_rsum": None})
    accelerator.wait_for_everyone()
    return TrainingState()


def _finished(job: Job, identity: RunIdentity, console: Console) -> Record | None:
    """The record of a run that need not be run again; the console is told either way."""
    record = recorded(job, identity)
    if record is None:
        return None
    if current(job, record) is None:
        console.print(
            f"{identity.id}: its record is stale (the code has changed since); running it again", soft_wrap=True
        )
        return None
    console.print(f"{identity.id}: already done, see {filed(job, identity)}; --fresh runs it again", soft_wrap=True)
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
    (folder / DONE).unlink(missing_ok=True)
    note = folder / "code_hash"
    begun_with = note.read_text(encoding="utf-8") if note.exists() else job.code_hash
    if begun_with != job.code_hash:
        console.print(
            f"{folder.name}: the code has changed since its checkpoints were written; starting over", soft_wrap=True
        )
    if job.options.fresh or begun_with != job.code_hash:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        (folder / BEST).unlink(missing_ok=True)
    write_whole(note, lambda file: file.write(job.code_hash.encode()))


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
    selected = read_about(best)["epoch"]
    if job.trains and selected != state.best_epoch:
        raise RunError(
            f"{best} is of epoch {selected}, the selected one is {state.best_epoch}; train anew with --fresh."
        )
    load_model(best, method)
    scored = score_split_timed(
        method, job.split("test"), job.recipe.train.eval_batch_size, accelerator.device, accelerator.mixed_precision
    )
    trained = {
        **scored.times(),
        "diverged": state.diverged,
        "history": [Epoch(**entry) for entry in state.history],
        "selected_epoch": selected,
        "train_seconds": state.step_seconds + state.dev_seconds if state.step else None,
        "seconds_per_step": state.step_seconds / state.step if state.step else None,
        "first_steps": state.first_steps,
        "steps": state.step,
        "skipped_steps": state.skipped,
        "parameters": sum(p.numel() for group in method.parameter_groups() for p in group.parameters),
        **(_weights(job, best) if accelerator.is_main_process else {}),
    }
    try:
        return _file(job, identity, scored.similarity, trained, began, accelerator, console)
    except NotFiniteError:
        trained["diverged"] = state.diverged or UNSCORED
        return _file(job, identity, constant_scores(scored.similarity), trained, began, accelerator, console)


def _weights(job: Job, best: Path) -> dict[str, Any]:
    """The fields of a record that tell which weights a training began with, and which it left. best: their file."""
    trained = Checkpoint(file=f"{best.parent.name}/{best.name}", sha256=file_hash(best))
    return {"pretrained": pretrained_hashes(job.config), "checkpoint": trained}


def _file(
    job: Job,
    identity: RunIdentity,
    similarity: Tensor | Streamed,
    trained: dict[str, Any],
    began: float,
    accelerator: Accelerator,
    console: Console,
) -> Record:
    read = read_of([job.split(name) for name in job.split_names], job.options.hash_whole)
    trained = {
        **read,
        **trained,
        "recipe_sources": job.recipe.sources,
        "command": job.options.command(identity.seed),
    }
    record, details = measured(
        identity, similarity, job.split("test"), job.code_hash, accelerator, trained, began, console
    )
    if job.trains and record.diverged is None:
        record = record.model_copy(update={"diverged": collapse(record.metrics)})
    if accelerator.is_main_process:
        if record.diverged:
            console.print(f"{record.id}: DIVERGED: {record.diverged}; the leaderboard lists it apart", soft_wrap=True)
        console.print(f"record: {write_record(record, details, job.options.results)}", soft_wrap=True)
    return record


def measured(
    identity: RunIdentity,
    similarity: Tensor | Streamed,
    test: Split,
    code_hash: str,
    accelerator: Accelerator,
    trained: dict[str, Any],
    began: float,
    console: Console,
) -> tuple[Record, dict[str, Details]]:
    """The record of a run and its per-query details.

    trained: the fields that tell of its training. began: when its command did, by time.monotonic.
    """
    encoded = time.monotonic()
    metrics, details = benchmark_results(similarity, test)
    if not isinstance(similarity, Tensor):  # it has been scored only now
        trained = {**trained, "score_seconds": time.monotonic() - encoded}
    if accelerator.is_main_process:
        metrics = with_judgements(metrics, similarity, test, lambda line: console.print(line, soft_wrap=True))
    record = Record(
        **identity.model_dump(),
        **read_of([test]) | trained,
        metrics=metrics,
        total_seconds=time.monotonic() - began,
        code=provenance.git_revision(),
        code_hash=code_hash,
        versions=provenance.versions() | system_versions(accelerator.device),
        hardware=provenance.hardware(accelerator.device, accelerator.num_processes),
        peak_memory=provenance.peak_memory(accelerator.device),
        protocol=PROTOCOL_VERSION,
        created=datetime.now(UTC).replace(microsecond=0),
    )
    return record, details


def read_of(splits: list[Split], whole: bool = False) -> dict[str, Any]:
    """The fields of a record that tell what was read. whole: hash large files from end to end."""
    return {
        "sidecars": sorted({name for split in splits for name in split.sidecars}),
        "sidecar_sources": sidecar_sources(splits),
        "data": data_contents(splits, whole),
    }


def _run_ensemble(job: Job, members: list[Job], seed: int, accelerator: Accelerator, console: Console) -> Record:
    """Train the members, then re-score the test split from their encodings and average the matrices in float32."""
    began = time.monotonic()
    records = [run_seed(member, seed, accelerator, console) for member in members]
    done = finished_ensemble(job, records, seed)
    if done is not None:
        console.print(f"{done.id}: already done; --fresh runs it again", soft_wrap=True)
        return done
    scored, whole = [], fits(job.split("test"), accelerator.device, len(members))
    for member in members:
        method = member.build(seed).to(accelerator.device)
        load_model(run_folder(member, member.identity(seed)) / BEST, method)
        size = member.recipe.train.eval_batch_size
        scored.append(score_split_timed(method, member.split("test"), size, accelerator.device, whole=whole))
    identity = ensemble_identity(job, records, seed)
    similarity = mean_of([s.similarity for s in scored])
    return _file(job, identity, similarity, member_totals(records, scored), began, accelerator, console)


def member_totals(records: list[Record], scored: list[Scored]) -> dict[str, Any]:
    """The fields of an ensemble's record that are sums over its members, or what they read together."""
    train_seconds = [r.train_seconds for r in records if r.train_seconds is not None]
    return {
        "train_seconds": sum(train_seconds) if train_seconds else None,
        "encode_seconds": sum(s.encode_seconds for s in scored),
        "score_seconds": sum(s.score_seconds for s in scored),
        "sidecars": sorted({name for r in records for name in r.sidecars or ()}),
        "sidecar_sources": {name: source for r in records for name, source in r.sidecar_sources.items()},
        "pretrained": {name: digest for r in records for name, digest in r.pretrained.items()},
        "steps": sum(r.steps for r in records),
        "skipped_steps": sum(r.skipped_steps for r in records),
        "diverged": next((f"{r.id}: {r.diverged}" for r in records if r.diverged), None),
        "parameters": sum(r.parameters for r in records),
    }
