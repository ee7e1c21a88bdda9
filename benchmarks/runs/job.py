"""A run, resolved but not begun: method, recipe, data, and what identifies it."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from itm_harness.benchmarks.common.activity import activity
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol.scoring import benchmarks_of
from itm_harness.benchmarks.records.code_hash import method_code_hash
from itm_harness.benchmarks.records.places import own_results, seen_results
from itm_harness.benchmarks.records.schema import RunIdentity
from itm_harness.benchmarks.runs.sidecar_files import SIMULATED, missing_files, require_one_encoder, sidecar_sources
from itm_harness.datasets.batch import Inputs, Words
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.check_pictures import require_intact
from itm_harness.datasets.files.manifest import read_manifest
from itm_harness.datasets.precomp import Dataset, open_dataset
from itm_harness.datasets.split import Split, open_split
from itm_harness.datasets.text.tokens import Vocabulary
from itm_harness.methods.base import Method, MethodConfig
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.registry import find_method

FILES = (
    "text.bert",
    "prototypes_file",
    "grid.weights",
    "tower.model",
    "tower.weights",
)  # values that may be paths
Place = Literal["device", "host", "map"]
PLACES = (*get_args(Place), "auto")
PRECISIONS = ("fp32", "bf16")
WHOLE = ", whole"  # behind the name of what was hashed from end to end


@dataclass(frozen=True)
class RunOptions:
    """What the command line asked for. overrides: dotted recipe key -> value. output: holds results/local/ and runs/.

    hash_whole: hash files over 1 GB from end to end, beside their sampled blocks. deterministic: the command asks for
    deterministic kernels; whoever runs it sets them. features: where the region features of training and dev lie.
    compile: torch.compile BERT for training.
    """

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
    hash_whole: bool = False
    features: Place | Literal["auto"] = "auto"
    deterministic: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        """Raises RunError on an unknown precision or place."""
        for option, value, known in (("precision", self.precision, PRECISIONS), ("features", self.features, PLACES)):
            if value not in known:
                raise RunError(f"--{option} {value} is not known; use {', '.join(known[:-1])} or {known[-1]}.")

    @property
    def results(self) -> Path:
        """Where records go."""
        return own_results(self.output / "results")

    @property
    def seen_results(self) -> tuple[Path, Path]:
        """Where records of earlier runs are sought."""
        return seen_results(self.output / "results")

    def command(self, seed: int | None) -> str:
        """The command that repeats a run; where data and results lie is left out."""
        parts = ["--method", self.method, "--dataset", self.dataset]
        parts += ["--variant", self.variant] if self.variant else []
        for key, value in portable(self.overrides).items():
            parts += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
        parts += ["--precision", self.precision] if self.precision != "fp32" else []
        parts += ["--limit", str(self.limit)] if self.limit else []
        parts += ["--deterministic"] if self.deterministic else []
        parts += ["--compile"] if self.compile else []
        parts += [] if seed is None else ["--seeds", str(seed)]
        return f"itm run {shlex.join(parts)}"


class Job:
    """A method, its recipe and a data set, resolved; opens each split once and runs one seed at a time."""

    def __init__(self, options: RunOptions) -> None:
        """Raises MethodError or DataError where a name, a recipe value or the data set's folder is wrong."""
        self.options = options
        self.entry = find_method(options.method, options.variant)
        self.dataset = open_dataset(options.dataset, options.data_root)
        self.kind: type[Method] = self.entry.method
        self.recipe = resolve_entry(self.entry, self.dataset.spec.name, options.variant, options.overrides)
        self.code_hash = method_code_hash(self.entry.files)

    @cached_property
    def config(self) -> MethodConfig:
        """The method's configuration with the sizes that the data decides."""
        config = self.kind.sized(self.recipe.config, self.dataset)
        if self.inputs.regions:
            require_region_dim(config, self.dataset, "the recipe")
        return config

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """The words of the BiGRU; None where no words are read (BERT reads word pieces)."""
        text = self.inputs.text
        return self.dataset.vocabulary(text) if isinstance(text, Words) else None

    @cached_property
    def inputs(self) -> Inputs:
        """What the method reads."""
        return self.kind.bare(self.recipe.config).inputs()

    @property
    def trains(self) -> bool:
        """Is there anything to train?"""
        return self.kind.trains(self.recipe.config)

    @property
    def selection(self) -> Literal["dev", "last", "none"]:
        """How the tested epoch is chosen; none where nothing is trained."""
        return self.recipe.train.select if self.trains else "none"

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits that have to be on disk: dev only where it is selected on."""
        return ("train", "dev", "test") if self.selection == "dev" else ("train", "test")

    def require_files(self) -> None:
        """Raises DataError with every file that is missing, of two makers where one is wanted, or broken pictures.

        Pictures are decoded, once: a broken one of test would else be found when everything is trained.
        """
        missing = missing_files(self.dataset, self.inputs, self.split_names)
        if missing:
            raise DataError("\n".join(missing))
        require_one_encoder(self.dataset, self.inputs, self.split_names)
        if self.inputs.pixels:
            pictures = {name: self.dataset.pictures(name, self.options.limit) for name in self.split_names}
            with activity() as tell:
                require_intact(pictures, tell)

    def split(self, name: str) -> Split:
        """A split with what the method reads, opened once."""
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[str, Split]:
        """Under bf16 regions are rounded as they are read, as their first layer would: half the memory holds them."""
        splits = {
            name: open_split(self.dataset, name, self.inputs, self.vocabulary, self.options.limit)
            for name in self.split_names
        }
        if self.inputs.regions and self.options.precision == "bf16":
            for split in splits.values():
                split.round_regions(torch.bfloat16)
        return splits

    def build(self, seed: int) -> Method:
        """The method with the initial weights of this seed."""
        torch.manual_seed(seed)
        return self.kind(self.config)

    def identity(self, seed: int) -> RunIdentity:
        """What makes this run this run, known before it begins."""
        values = {**self.recipe.values(), **self.config.model_dump(mode="json")}
        values |= {"compile": True} if self.options.compile else {}  # other kernels round otherwise
        benchmarks_of(self.split("test"))  # refuses before training what could not be measured after it
        return RunIdentity(
            method=self.entry.name,
            variant=self.recipe.variant,
            dataset=self.dataset.spec.name,
            text=self.kind.text_label(self.config),
            features=self.kind.features_label(self.config, regions_label(self.dataset)),
            seed=seed if self.trains else None,
            flags=run_flags(self.kind.bare(self.config), self.split("test"), self.options.limit),
            selection=self.selection,
            limit=self.options.limit,
            overrides=portable(self.options.overrides),
            recipe=portable(values),
            data_fingerprint=data_fingerprint([self.split(name) for name in self.split_names]),
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


def data_fingerprint(splits: Iterable[Split]) -> str:
    """Hash of the data that a run reads: of all its splits, in order."""
    return hashlib.sha256("".join(split.fingerprint() for split in splits).encode()).hexdigest()[:16]


def data_contents(splits: Iterable[Split], whole: bool = False) -> dict[str, str]:
    """Split and what was read of it -> hash of its content. whole: beside those of sampled blocks, those of all."""
    found = {}
    for split in splits:
        found |= {f"{split.name} {name}": value for name, value in split.contents.items()}
        if whole:
            read = split.hashes(whole=True)
            found |= {f"{split.name} {name}{WHOLE}": v for name, v in read.items() if v != split.contents[name]}
    return found


def portable(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Recipe values without machine paths: folders and files are named by their last part, wherever they lie.

    values: nested, or with dotted keys. above: what comes before their keys.
    """
    renamed = {}
    for name, value in values.items():
        key = f"{above}{name}".removeprefix("host.")
        renamed[name] = portable(value, f"{key}.") if isinstance(value, dict) else value
        if key in FILES and isinstance(value, str):
            renamed[name] = _last_part(value)
    return renamed


def _last_part(name: str) -> str:
    return Path(name).resolve().name if name and Path(name).exists() else name


def regions_label(dataset: Dataset) -> str:
    """What the region features of a data set are: as `prepare` made them, or as its description says."""
    manifest = read_manifest(dataset.features_path("test"))
    return manifest.label if manifest else dataset.spec.features


def require_region_dim(config: MethodConfig, dataset: Dataset, who: str) -> None:
    """Raises RunError where a configuration expects regions of another width than the data has."""
    if config.region_dim != dataset.region_dim:
        raise RunError(
            f"{who} expects regions of {config.region_dim} numbers, {dataset.spec.name} has {dataset.region_dim}; "
            f"use the data set whose features it was made for."
        )


def run_flags(method: Method, test: Split, limit: int | None) -> list[str]:
    """What sets a run apart, as far as its method and data decide. method: may be bare."""
    conditions = {
        "gallery_score": method.scope == "gallery",
        "extra_pretraining": method.extra_pretraining,
        "simulated_inputs": SIMULATED in sidecar_sources([test]).values(),
        "limited": limit is not None,
        "nonstandard_size": any(b.images not in (None, test.n_images) for b in test.dataset.spec.benchmarks),
    }
    return [flag for flag, holds in conditions.items() if holds]
