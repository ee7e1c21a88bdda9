"""Score a checkpoint, official or ours, on a test split. What was trained elsewhere is filed with flags that say so."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from pydantic import ValidationError
from rich.console import Console

from benchmarks import provenance
from benchmarks.checkpoint import load_model, read_about
from benchmarks.errors import RunError
from benchmarks.job import RunOptions, portable, require_region_dim, run_flags
from benchmarks.records import Metrics, RunIdentity, write_record
from benchmarks.run import measured
from benchmarks.scoring import benchmark_results
from benchmarks.timed_scoring import score_split_timed
from datasets.batch import Words
from datasets.precomp import Dataset, open_dataset
from datasets.text import Vocabulary
from methods.base import Method
from methods.hosting import resolve_entry
from methods.official import import_checkpoint
from methods.recipe import Train
from methods.registry import Entry, find_method

OURS = ".safetensors"


def evaluate_checkpoint(
    options: RunOptions, checkpoint: Path, accelerator: Accelerator, console: Console
) -> dict[str, Metrics]:
    """Benchmark -> metrics of a checkpoint.

    One of ours is only measured: its run has a record already. An official one is filed, flagged `imported`, and
    `selected_on_test` where the official code chose its epoch so. Raises MethodError, RunError or DataError where
    checkpoint, method and data do not fit each other.
    """
    if not checkpoint.is_file():
        raise RunError(f"checkpoint {checkpoint} does not exist; give an official .pth or a best{OURS} of ours.")
    began = time.monotonic()
    ours = checkpoint.suffix == OURS
    variant = read_about(checkpoint)["variant"] if ours else options.variant
    entry, dataset = find_method(options.method, variant), open_dataset(options.dataset, options.data_root)
    method, vocabulary = (
        load_ours(checkpoint, entry, options.overrides) if ours else _official(checkpoint, entry, dataset, options)
    )
    if method.inputs().regions:
        require_region_dim(method.config, dataset, f"checkpoint {checkpoint}")
    test = dataset.split("test", method.inputs(), vocabulary, options.limit)
    scored = score_split_timed(
        method.to(accelerator.device), test, Train().eval_batch_size, accelerator.device, accelerator.mixed_precision
    )
    if ours:
        return benchmark_results(scored.similarity, test)[0]
    selection = entry.method.released_selection
    flags = {"imported", *run_flags(method, test, options.limit)}
    identity = RunIdentity(
        method=entry.name,
        variant=options.variant or (method.variants[0] if method.variants else ""),
        dataset=dataset.spec.name,
        text=method.text_label(method.config),
        features=method.features_label(method.config, dataset.spec.features),
        selection=selection,
        flags=flags | ({"selected_on_test"} if selection == "test" else set()),
        limit=options.limit,
        overrides=portable(options.overrides),
        recipe=portable(method.config.model_dump(mode="json")),
        data_fingerprint=test.fingerprint(),
        weights=hashlib.sha256(checkpoint.read_bytes()).hexdigest()[:16],
        precision=options.precision,
    )
    told = {
        **scored.times(),
        "total_seconds": time.monotonic() - began,
        "parameters": sum(p.numel() for p in method.parameters()),
    }
    code_hash = provenance.method_code_hash(entry.files)
    record, details = measured(identity, scored.similarity, test, code_hash, accelerator, told)
    console.print(f"record: {write_record(record, details, options.results)}", soft_wrap=True)
    return record.metrics


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
    load_model(checkpoint, method)
    return method, Vocabulary.from_json(about["vocabulary"]) if about["vocabulary"] else None


def _official(
    checkpoint: Path, entry: Entry, dataset: Dataset, options: RunOptions
) -> tuple[Method, Vocabulary | None]:
    recipe = resolve_entry(entry, dataset.spec.name, options.variant, options.overrides)
    method = import_checkpoint(checkpoint, entry.method, recipe.config)  # the recipe: what the file does not determine
    text = method.inputs().text
    if not isinstance(text, Words):
        return method, None
    vocabulary = dataset.vocabulary(text)
    if len(vocabulary) != method.config.text.vocabulary_size:
        raise RunError(
            f"checkpoint {checkpoint} knows {method.config.text.vocabulary_size} words, the data's vocabulary has "
            f"{len(vocabulary)}; put the {dataset.spec.name}_precomp_vocab.json it was trained with under vocab/."
        )
    return method, vocabulary
