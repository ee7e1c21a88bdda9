"""Score a checkpoint, official or ours, on a test split. What was trained elsewhere is filed with flags that say so."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from pydantic import ValidationError
from rich.console import Console

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol.judgements import with_judgements
from itm_harness.benchmarks.protocol.scoring import benchmark_results
from itm_harness.benchmarks.protocol.timed_scoring import score_split_timed
from itm_harness.benchmarks.records.code_hash import method_code_hash
from itm_harness.benchmarks.records.schema import TRAINED_ON, TRANSFER, Metrics, RunIdentity
from itm_harness.benchmarks.records.store import write_record
from itm_harness.benchmarks.runs.job import RunOptions, portable, regions_label, require_region_dim, run_flags
from itm_harness.benchmarks.runs.run import measured, read_of
from itm_harness.benchmarks.training.checkpoint import load_model, read_about
from itm_harness.datasets.batch import Words
from itm_harness.datasets.precomp import Dataset, open_dataset
from itm_harness.datasets.spec import find_spec
from itm_harness.datasets.split import Split, open_split
from itm_harness.datasets.text.tokens import Vocabulary
from itm_harness.methods.base import Method
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.importing import import_checkpoint
from itm_harness.methods.recipe import Train
from itm_harness.methods.registry import Entry, find_method

OURS = ".safetensors"


@dataclass(frozen=True)
class Loaded:
    """A checkpoint's model, and what a record says of it. vocabulary: of its training, None where it reads no words.

    trained_on: a data set's name. selection: how its epoch was chosen. flags: of a checkpoint not trained here.
    """

    method: Method
    vocabulary: Vocabulary | None
    trained_on: str
    variant: str
    seed: int | None
    selection: Literal["dev", "last", "test", "none"]
    flags: frozenset[str] = frozenset()


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
    if not checkpoint.is_file():
        raise RunError(f"checkpoint {checkpoint} does not exist; give an official .pth or a best{OURS} of ours.")
    began = time.monotonic()
    ours = checkpoint.suffix == OURS
    entry = find_method(options.method, read_about(checkpoint)["variant"] if ours else options.variant)
    dataset = open_dataset(options.dataset, options.data_root)
    loaded = (_ours if ours else _official)(checkpoint, entry, options, train_dataset)
    transfer = loaded.trained_on != dataset.spec.name
    test = _test_split(loaded, dataset, options, f"checkpoint {checkpoint}", transfer)
    scored = score_split_timed(
        loaded.method.to(accelerator.device), test, Train().eval_batch_size, accelerator.device,
        accelerator.mixed_precision,
    )  # fmt: skip
    if ours and not transfer:
        metrics = benchmark_results(scored.similarity, test)[0]
        return with_judgements(metrics, scored.similarity, test, lambda line: console.print(line, soft_wrap=True))
    identity = _identity(entry, loaded, test, options, checkpoint, transfer)
    told = {
        **scored.times(),
        **read_of([test], options.hash_whole),
        "parameters": sum(p.numel() for p in loaded.method.parameters() if p.requires_grad),
    }
    code_hash = method_code_hash(entry.files)
    record, details = measured(identity, scored.similarity, test, code_hash, accelerator, told, began, console)
    console.print(f"record: {write_record(record, details, options.results)}", soft_wrap=True)
    return record.metrics


def _test_split(loaded: Loaded, dataset: Dataset, options: RunOptions, who: str, transfer: bool) -> Split:
    inputs = loaded.method.inputs()
    if inputs.regions:
        require_region_dim(loaded.method.config, dataset, who)
    if transfer and isinstance(inputs.text, Words):  # a file of ids holds those of the data's own vocabulary
        inputs = replace(inputs, text=replace(inputs.text, precomputed=False))
    test = open_split(dataset, "test", inputs, loaded.vocabulary, options.limit)
    if inputs.regions and options.precision == "bf16":  # as in training
        test.round_regions(torch.bfloat16)
    return test


def _identity(
    entry: Entry, loaded: Loaded, test: Split, options: RunOptions, checkpoint: Path, transfer: bool
) -> RunIdentity:
    method, spec = loaded.method, test.dataset.spec
    flags = {*loaded.flags, *run_flags(method, test, options.limit)}
    flags |= {"selected_on_test"} if loaded.selection == "test" else set()
    flags |= {TRANSFER} if transfer else set()
    return RunIdentity(
        method=entry.name,
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
        weights=hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:16],
        precision=options.precision,
    )


def _ours(checkpoint: Path, entry: Entry, options: RunOptions, train_dataset: str | None) -> Loaded:
    about = read_about(checkpoint)
    said = about["dataset"] if train_dataset is None else find_spec(train_dataset).name
    if said != about["dataset"]:
        raise RunError(
            f"checkpoint {checkpoint} was trained on {about['dataset']}, not on {said}: "
            f"use --train-dataset {about['dataset']}, or leave it out."
        )
    method, vocabulary = load_ours(checkpoint, entry, options.overrides)
    selection = "dev" if about["dev_rsum"] is not None else "none" if about["epoch"] is None else "last"
    seed = None if selection == "none" else about["seed"]  # as in the record of its run
    return Loaded(method, vocabulary, about["dataset"], about["variant"], seed, selection)


def load_ours(checkpoint: Path, entry: Entry, overrides: dict[str, Any]) -> tuple[Method, Vocabulary | None]:
    """The method of one of our checkpoints, and the vocabulary it was trained with; None where it reads no words.

    overrides: text.bert at most. Raises RunError where checkpoint and method do not fit each other.
    """
    about = read_about(checkpoint)
    if about["method"] != entry.name:
        raise RunError(f"checkpoint {checkpoint} was trained with {about['method']}: use --method {about['method']}.")
    if entry.host is not None and about["variant"] not in entry.method.variants:
        raise RunError(
            f"checkpoint {checkpoint} was trained with variant {about['variant']}: name its host behind a colon, "
            f"--method {entry.name}:HOST."
        )
    if refused := set(overrides) - {"text.bert"}:
        raise RunError(f"checkpoint {checkpoint} brings its recipe along; --set {min(refused)} cannot change it.")
    if "text.bert" in overrides:  # its folder may lie elsewhere by now
        about["config"]["text"]["bert"] = overrides["text.bert"]
    try:
        method = entry.method(entry.method.Config(**about["config"]))
    except ValidationError as error:
        raise RunError(
            f"checkpoint {checkpoint} is of another version of {entry.name} ({error.errors()[0]['msg']}); "
            f"evaluate it with the code revision in its record."
        ) from error
    except (RuntimeError, ValueError, TypeError, KeyError, MemoryError, OverflowError) as error:
        raise RunError(
            f"checkpoint {checkpoint} describes a model that cannot be built ({error}); it is damaged, take it anew."
        ) from error
    load_model(checkpoint, method)
    return method, Vocabulary.from_json(about["vocabulary"]) if about["vocabulary"] else None


def _official(checkpoint: Path, entry: Entry, options: RunOptions, train_dataset: str | None) -> Loaded:
    trained_on = find_spec(train_dataset or options.dataset).name
    recipe = resolve_entry(entry, trained_on, options.variant, options.overrides)
    method = import_checkpoint(checkpoint, entry.method, recipe.config)  # the recipe: what the file does not determine
    vocabulary, text = None, method.inputs().text
    if isinstance(text, Words):
        dataset = open_dataset(train_dataset or options.dataset, options.data_root)
        vocabulary = dataset.vocabulary(text)
        _require_vocabulary(checkpoint, method, vocabulary, dataset)
    variant = options.variant or (method.variants[0] if method.variants else "")
    selection = entry.method.released_selection
    return Loaded(method, vocabulary, trained_on, variant, None, selection, frozenset({"imported"}))


def _require_vocabulary(checkpoint: Path, method: Method, vocabulary: Vocabulary, dataset: Dataset) -> None:
    if len(vocabulary) != method.config.text.vocabulary_size:
        raise RunError(
            f"checkpoint {checkpoint} knows {method.config.text.vocabulary_size} words, the data's vocabulary has "
            f"{len(vocabulary)}; put the {dataset.spec.name}_precomp_vocab.json it was trained with under vocab/."
        )
