"""Recipes: what a run trains with. A YAML file per method, validated, every value with its source.

A file holds `defaults`, `datasets.<name>` and `variants.<name>`; each is a list of blocks. A block is a mapping of
recipe values plus `source` (where they are from: a paper, official code, ours) and, if needed, `when` (data set or
variant it is limited to). Later blocks win, in the order defaults, data set, variant; then --set overrides.
Values may be nested (optim: {lr: 5e-4}) or dotted (optim.lr: 5e-4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from itm_harness.methods.config import MethodConfig
from itm_harness.methods.description import Description
from itm_harness.methods.errors import MethodError
from itm_harness.methods.spelling import nearest


class Section(BaseModel):
    """A part of a recipe: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Optim(Section):
    """Optimiser and schedule. decay_epochs: the learning rate is multiplied by decay_factor at their beginning."""

    name: Literal["adamw", "adam"] = "adamw"
    lr: float = Field(5e-4, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    grad_clip: float = Field(2.0, gt=0)
    decay_epochs: tuple[int, ...] = ()
    decay_factor: float = Field(0.1, gt=0)


class Train(Section):
    """The training loop. select: which epoch is tested, the best on dev by rsum, or the last."""

    epochs: int = Field(25, ge=1)
    batch_size: int = Field(128, ge=2)
    eval_batch_size: int = Field(256, ge=1)
    drop_last: bool = True
    sort_by_length: bool = False
    sampler: Literal["shuffle", "neighbour"] = "shuffle"
    select: Literal["dev", "last"] = "dev"


class Augment(Section):
    """Size augmentation (VSE∞, section 3.3): the probability with which a region or a word is touched."""

    regions: float = Field(0.2, ge=0, lt=1)
    words: float = Field(0.2, ge=0, lt=1)


class Begin(Section):
    """When a phase begins: at an epoch, at a step, or after a fraction of all steps. One of the three."""

    epoch: int | None = Field(None, ge=0)
    step: int | None = Field(None, ge=0)
    fraction: float | None = Field(None, ge=0, le=1)

    @model_validator(mode="after")
    def _one(self) -> Begin:
        if sum(v is not None for v in (self.epoch, self.step, self.fraction)) != 1:
            raise ValueError("give exactly one of epoch, step, fraction")
        return self

    def first_step(self, steps_per_epoch: int, epochs: int) -> int:
        """The step, counted from 0, at which the phase begins."""
        if self.step is not None:
            return self.step
        if self.epoch is not None:
            return self.epoch * steps_per_epoch
        return round(self.fraction * steps_per_epoch * epochs)


Valid = TypeVar("Valid", bound=BaseModel)


@dataclass(frozen=True)
class Recipe:
    """A resolved recipe. values: nested and complete, as stored in a record; sources: dotted key -> source."""

    method: str
    variant: str
    dataset: str
    optim: Optim
    train: Train
    augment: Augment
    phases: dict[str, Begin]
    config: MethodConfig
    sources: dict[str, str]

    def values(self) -> dict[str, Any]:
        """Every value, nested, ready for JSON."""
        engine = {name: getattr(self, name).model_dump(mode="json") for name in ENGINE_SECTIONS}
        phases = {name: begin.model_dump(mode="json", exclude_none=True) for name, begin in self.phases.items()}
        return {**engine, "phases": phases, **self.config.model_dump(mode="json")}

    def rows(self) -> list[tuple[str, str, str]]:
        """(dotted key, value, source) of every value, for people."""
        return [(key, str(value), self.source(key)) for key, value in flatten(self.values())]

    def source(self, key: str) -> str:
        """Where the value of a dotted key is from."""
        return self.sources.get(key, DEFAULT_SOURCE)


ENGINE_SECTIONS: dict[str, type[Section]] = {"optim": Optim, "train": Train, "augment": Augment}
DEFAULT_SOURCE = "this harness's default"


def resolve(
    method: type[Description],
    name: str,
    dataset: str,
    variant: str | None = None,
    overrides: dict[str, Any] | None = None,
    file: Path | None = None,
) -> Recipe:
    """The recipe of a method on a data set.

    method, name: the method or its description, and its name. variant: None = the first one. overrides: dotted key ->
    value, from --set.
    file: the YAML file; None = no file, defaults only. Raises MethodError where a key is unknown or a value is wrong.
    """
    variant = _known_variant(method, name, variant)
    merged, sources = _merge(_blocks(file, dataset, variant), overrides or {}, str(file) if file else name)
    phases = merged.pop("phases", {})
    engine = {section: merged.pop(section, {}) for section in ENGINE_SECTIONS}
    _refuse_unknown({**engine, "phases": phases, **merged}, method, name)
    return Recipe(
        method=name,
        variant=variant,
        dataset=dataset,
        **{section: _valid(kind, engine[section], f"{section}.", name) for section, kind in ENGINE_SECTIONS.items()},
        phases={phase: _valid(Begin, begin, f"phases.{phase}.", name) for phase, begin in phases.items()},
        config=_valid(method.Config, merged, "", name),
        sources=sources,
    )


def _valid(kind: type[Valid], values: Any, prefix: str, name: str) -> Valid:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = f"{prefix}{'.'.join(map(str, first['loc']))}".removesuffix(".")
        raise MethodError(f"recipe of {name}: {key} = {first['input']!r} is not valid: {first['msg']}.") from error


def parse_override(text: str) -> tuple[str, Any]:
    """'optim.lr=3e-4' -> ('optim.lr', 0.0003). Raises MethodError where there is no '='."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise MethodError(f"--set {text}: write key=value, for example --set optim.lr=3e-4.")
    try:
        return key.strip(), _scalar(yaml.safe_load(value))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise MethodError(f"--set {text}: the value cannot be read; quote it, or close its brackets.") from error


def _scalar(value: Any) -> Any:
    """YAML 1.1 reads 3e-4 (no dot) as a string; people write it for a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _known_variant(method: type[Description], name: str, variant: str | None) -> str:
    if variant is None:
        return method.variants[0] if method.variants else ""
    if variant not in method.variants:
        known = ", ".join(method.variants) or "none"
        raise MethodError(
            f"method {name} has no variant '{variant}'{nearest(variant, method.variants)} (it has: {known})."
        )
    return variant


def _blocks(file: Path | None, dataset: str, variant: str) -> list[dict[str, Any]]:
    if file is None:
        return []
    try:
        content = _parsed(file.read_text(encoding="utf-8")) or {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise MethodError(f"{file}: cannot be read as a YAML recipe: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise MethodError(f"{file}: holds no mapping; a recipe has defaults, datasets and variants.")
    unknown = set(content) - {"defaults", "datasets", "variants"}
    if unknown:
        raise MethodError(f"{file}: unknown section '{min(unknown)}'; a recipe has defaults, datasets and variants.")
    defaults = content.get("defaults") or []
    if not isinstance(defaults, list):
        raise MethodError(f"{file}: defaults is a list of blocks.")
    blocks = [
        *defaults,
        *_section(content, "datasets", file).get(dataset, []),
        *_section(content, "variants", file).get(variant, []),
    ]
    for block in blocks:
        if not isinstance(block, dict) or not isinstance(block.get("when", {}), dict):
            raise MethodError(f"{file}: '{block}' is no block; each is a mapping of values with a source, in a list.")
    return [b for b in blocks if _applies(b.get("when", {}), dataset, variant, file)]


@lru_cache(maxsize=16)
def _parsed(text: str) -> Any:
    """What a YAML file says; not to be changed, since it is parsed once for all variants and data sets."""
    if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
        raise ValueError("it uses aliases (*name), with which a small file can grow without bound")
    return yaml.safe_load(text)


def _section(content: dict[str, Any], name: str, file: Path) -> dict[str, list[Any]]:
    section = content.get(name) or {}
    if not isinstance(section, dict) or not all(isinstance(blocks, list) for blocks in section.values()):
        raise MethodError(f"{file}: {name} is a mapping of names to lists of blocks.")
    return section


def _applies(when: dict[str, Any], dataset: str, variant: str, file: Path) -> bool:
    facts = {"dataset": dataset, "variant": variant}
    if unknown := set(when) - set(facts):
        raise MethodError(f"{file}: when: '{min(unknown)}' is unknown; it may name dataset and variant.")
    return all(facts[key] in (wanted if isinstance(wanted, list) else [wanted]) for key, wanted in when.items())


def _merge(
    blocks: list[dict[str, Any]], overrides: dict[str, Any], where: str
) -> tuple[dict[str, Any], dict[str, str]]:
    merged: dict[str, Any] = {}
    sources: dict[str, str] = {}
    layers = [({k: v for k, v in b.items() if k not in ("source", "when")}, b.get("source", where)) for b in blocks]
    for values, source in [*layers, (overrides, "--set")]:
        for key, value in flatten(values):
            _put(merged, key, value)
            for old in [s for s in sources if s.startswith(f"{key}.") or key.startswith(f"{s}.")]:
                del sources[old]
            sources[key] = source
    return merged, sources


def flatten(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested mappings -> (dotted key, value); the beginning of a phase stays one value."""
    pairs = []
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, dict) and not dotted.startswith("phases."):
            pairs += flatten(value, f"{dotted}.")
        else:
            pairs.append((dotted, value))
    return pairs


def _put(target: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    if len(parents) == 2 and parents[0] == "phases":  # --set phases.graph.step=10 replaces the whole beginning
        parents, last, value = ["phases"], parents[1], {last: value}
    for parent in parents:
        target = target.setdefault(parent, {})
        if not isinstance(target, dict):
            raise MethodError(f"recipe key '{dotted}': '{parent}' is a single value and has no parts.")
    target[last] = value


def _refuse_unknown(values: dict[str, Any], method: type[Description], name: str) -> None:
    known, open_ended = known_keys(method), tuple(f"{key}." for key in _model_keys(method.Config, only_mappings=True))
    for key, _ in flatten(values):
        if key not in known and not key.startswith(open_ended):
            raise MethodError(
                f"recipe of {name}: unknown key '{key}'{nearest(key, known)}; "
                f"`itm recipe --method {name}` lists them all."
            )


def known_keys(method: type[Description]) -> list[str]:
    """Every dotted key that a recipe of this method may set."""
    engine = [f"{section}.{field}" for section, kind in ENGINE_SECTIONS.items() for field in kind.model_fields]
    return engine + [f"phases.{phase}" for phase in method.phases] + _model_keys(method.Config)


def _model_keys(model: type[BaseModel], prefix: str = "", only_mappings: bool = False) -> list[str]:
    """The dotted keys of a configuration. only_mappings: those whose values are mappings with keys of their own."""
    keys = []
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += _model_keys(kind, f"{prefix}{name}.", only_mappings)
        elif not only_mappings or dict in (kind, *map(get_origin, (kind, *get_args(kind)))):
            keys.append(f"{prefix}{name}")
    return keys
