"""Score a checkpoint, official or ours, on a test split. What was trained elsewhere is filed with flags that say so."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from accelerate import Accelerator
from rich.console import Console

from itm_harness.benchmarks.protocol.judgements import with_judgements
from itm_harness.benchmarks.protocol.scoring import benchmark_results
from itm_harness.benchmarks.protocol.timed_scoring import score_split_timed
from itm_harness.benchmarks.records.code_hash import method_code_hash
from itm_harness.benchmarks.records.schema import TRAINED_ON, TRANSFER, Metrics, RunIdentity
from itm_harness.benchmarks.records.store import write_record
from itm_harness.benchmarks.runs.checkpoint_loading import LoadedMethod, is_ours, load_checkpoint, open_split_for
from itm_harness.benchmarks.runs.job import RunOptions, portable, regions_label, run_flags
from itm_harness.benchmarks.runs.run import measured, read_of
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import Split
from itm_harness.methods.recipe import Train


def evaluate_checkpoint(
    options: RunOptions,
    checkpoint: Path,
    accelerator: Accelerator,
    console: Console,
    train_dataset: str | None = None,
) -> dict[str, Metrics]:
    """Benchmark -> metrics of a checkpoint.

    One of ours is only measured on the data set of its training: its run has a record already. An official one is
    filed, flagged `imported`, and `selected_on_test` where the official code chose its epoch so. One that was trained
    on another data set is filed and flagged `transfer`; ours knows its own, of an official one train_dataset says it.
    Raises MethodError, RunError or DataError where checkpoint, method and data do not fit each other.
    """
    began = time.monotonic()
    dataset = open_dataset(options.dataset, options.data_root)
    ours = is_ours(checkpoint)
    trained_on = train_dataset or (None if ours else options.dataset)
    loaded = load_checkpoint(
        checkpoint, options.method, trained_on, options.variant, options.overrides, options.data_root
    )
    transfer = loaded.is_new(dataset)
    test = open_split_for(loaded, dataset, "test", options.limit, options.precision)
    scored = score_split_timed(
        loaded.method.to(accelerator.device), test, Train().eval_batch_size, accelerator.device,
        accelerator.mixed_precision,
    )  # fmt: skip
    if ours and not transfer:
        metrics = benchmark_results(scored.similarity, test)[0]
        return with_judgements(metrics, scored.similarity, test, lambda line: console.print(line, soft_wrap=True))
    identity = _identity(loaded, test, options, transfer)
    told = {
        **scored.times(),
        **read_of([test], options.hash_whole),
        "parameters": sum(p.numel() for p in loaded.method.parameters() if p.requires_grad),
    }
    code_hash = method_code_hash(loaded.entry.files)
    record, details = measured(identity, scored.similarity, test, code_hash, accelerator, told, began, console)
    console.print(f"record: {write_record(record, details, options.results)}", soft_wrap=True)
    return record.metrics


def _identity(loaded: LoadedMethod, test: Split, options: RunOptions, transfer: bool) -> RunIdentity:
    method, spec = loaded.method, test.dataset.spec
    flags = {*loaded.flags, *run_flags(method, test, options.limit)}
    flags |= {"selected_on_test"} if loaded.selection == "test" else set()
    flags |= {TRANSFER} if transfer else set()
    return RunIdentity(
        method=loaded.entry.name,
        variant=loaded.variant,
        dataset=spec.name,
        text=method.text_label(method.config),
        features=method.features_label(method.config, regions_label(test.dataset)),
        seed=loaded.seed,
        selection=loaded.selection,
        flags=flags,
        limit=options.limit,
        overrides=portable(options.overrides),
        recipe=portable(method.config.model_dump(mode="json")) | ({TRAINED_ON: loaded.trained_on} if transfer else {}),
        data_fingerprint=test.fingerprint(),
        weights=hashlib.sha256(loaded.checkpoint.read_bytes()).hexdigest()[:16],
        precision=options.precision,
    )
