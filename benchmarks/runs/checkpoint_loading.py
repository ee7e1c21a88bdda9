"""Checkpoints, official or ours, as methods that are ready to encode any split of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.runs.job import require_region_dim
from itm_harness.benchmarks.training.checkpoint import load_model, read_about
from itm_harness.datasets.batch import Words
from itm_harness.datasets.precomp import Dataset, open_dataset
from itm_harness.datasets.spec import find_spec
from itm_harness.datasets.split import Split, open_split
from itm_harness.datasets.text.tokens import Vocabulary
from itm_harness.methods.base import Method
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.importing import import_checkpoint
from itm_harness.methods.registry import Entry, find_method

OURS = ".safetensors"


@dataclass(frozen=True)
class LoadedMethod:
    """A checkpoint's model, and what a record says of it. vocabulary: of its training, None where it reads no words.

    trained_on: a data set's name. selection: how its epoch was chosen. flags: of a checkpoint not trained here.
    """

    checkpoint: Path
    entry: Entry
    method: Method
    vocabulary: Vocabulary | None
    trained_on: str
    variant: str
    seed: int | None
    selection: Literal["dev", "last", "test", "none"]
    flags: frozenset[str] = frozenset()

    def is_new(self, dataset: Dataset) -> bool:
        """Was it trained on another data set?"""
        return self.trained_on != dataset.spec.name


def is_ours(checkpoint: Path) -> bool:
    """Is it a file that this harness writes? Official ones are .pth."""
    return checkpoint.suffix == OURS


def load_checkpoint(
    checkpoint: Path,
    method: str | None = None,
    trained_on: str | None = None,
    variant: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    data_root: Path | None = None,
) -> LoadedMethod:
    """The method of a checkpoint, on the CPU, in evaluation mode.

    Ours says itself what it is; method is needed for a user's own file, or where a host was named. An official one
    needs method and trained_on (a data set's name or YAML): its recipe, and the vocabulary of a BiGRU, which lies below
    data_root. overrides: of the recipe, in ours text.bert alone. Raises MethodError, RunError or DataError where
    checkpoint, method and data do not fit each other.
    """
    if not checkpoint.is_file():
        raise RunError(f"checkpoint {checkpoint} does not exist; give an official .pth or a best{OURS} of ours.")
    if is_ours(checkpoint):
        loaded = _ours(checkpoint, method, trained_on, dict(overrides or {}))
    else:
        loaded = _official(checkpoint, method, trained_on, variant, dict(overrides or {}), data_root)
    loaded.method.eval()
    return loaded


def _ours(checkpoint: Path, method_name: str | None, trained_on: str | None, overrides: dict[str, Any]) -> LoadedMethod:
    about = read_about(checkpoint)
    entry = find_method(method_name or about["method"], about["variant"])
    said = about["dataset"] if trained_on is None else find_spec(trained_on).name
    if said != about["dataset"]:
        raise RunError(
            f"checkpoint {checkpoint} was trained on {about['dataset']}, not on {said}: "
            f"use --train-dataset {about['dataset']}, or leave it out."
        )
    method, vocabulary = load_ours(checkpoint, entry, overrides)
    selection = "dev" if about["dev_rsum"] is not None else "none" if about["epoch"] is None else "last"
    seed = None if selection == "none" else about["seed"]  # as in the record of its run
    return LoadedMethod(checkpoint, entry, method, vocabulary, about["dataset"], about["variant"], seed, selection)


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


def _official(
    checkpoint: Path,
    method_name: str | None,
    trained_on: str | None,
    variant: str | None,
    overrides: dict[str, Any],
    data_root: Path | None,
) -> LoadedMethod:
    if method_name is None or trained_on is None:
        raise RunError(
            f"checkpoint {checkpoint} does not say what it is, as a best{OURS} of ours does; name its method and the "
            f"data set that it was trained on."
        )
    entry, spec = find_method(method_name, variant), find_spec(trained_on)
    recipe = resolve_entry(entry, spec.name, variant, overrides)
    method = import_checkpoint(checkpoint, entry.method, recipe.config)  # the recipe: what the file does not determine
    vocabulary, text = None, method.inputs().text
    if isinstance(text, Words):
        dataset = open_dataset(trained_on, data_root)
        vocabulary = dataset.vocabulary(text)
        _require_vocabulary(checkpoint, method, vocabulary, dataset)
    name = variant or (method.variants[0] if method.variants else "")
    selection, flags = entry.method.released_selection, frozenset({"imported"})
    return LoadedMethod(checkpoint, entry, method, vocabulary, spec.name, name, None, selection, flags)


def _require_vocabulary(checkpoint: Path, method: Method, vocabulary: Vocabulary, dataset: Dataset) -> None:
    if len(vocabulary) != method.config.text.vocabulary_size:
        raise RunError(
            f"checkpoint {checkpoint} knows {method.config.text.vocabulary_size} words, the data's vocabulary has "
            f"{len(vocabulary)}; put the {dataset.spec.name}_precomp_vocab.json it was trained with under vocab/."
        )


def open_split_for(
    loaded: LoadedMethod, dataset: Dataset, name: str, limit: int | None = None, precision: str = "fp32"
) -> Split:
    """A split with what a loaded method reads, in the words of its training. limit: only the first so many images.

    Raises RunError or DataError where the data lack something, or their regions are not as wide as the method's.
    """
    inputs = loaded.method.inputs()
    if inputs.regions:
        require_region_dim(loaded.method.config, dataset, f"checkpoint {loaded.checkpoint}")
    if loaded.is_new(dataset) and isinstance(inputs.text, Words):  # ready-made ids are of the data's own words
        inputs = replace(inputs, text=replace(inputs.text, precomputed=False))
    split = open_split(dataset, name, inputs, loaded.vocabulary, limit)
    if inputs.regions and precision == "bf16":  # as in training
        split.round_regions(torch.bfloat16)
    return split
