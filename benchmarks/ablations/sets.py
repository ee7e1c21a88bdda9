"""Ablation sets: which changes of a method's recipe stand beside each other, and what the paper printed for them.

A set is `benchmarks/ablations/<method>.yaml`: tables of rows. A row is a label, a variant, overrides as --set takes
them, and where a paper has the row its printed numbers, which are read from leaderboard/published/ by the label.
"""

from __future__ import annotations

import csv
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.schema import Record
from itm_harness.benchmarks.runs.job import portable
from itm_harness.datasets.spec import nearest
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.recipe import flatten
from itm_harness.methods.registry import find_method

FOLDER = Path(__file__).parent
PUBLISHED = FOLDER.parent / "leaderboard" / "published"
RECALLS = tuple(f"{direction}_r{k}" for direction in ("i2t", "t2i") for k in (1, 5, 10))
FILLED_BY_DATA = ("_dim", "_size")  # ends of keys that a recipe may leave open until the data is known


class Part(BaseModel):
    """A part of a set: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PublishedTable(Part):
    """A printed table. file: below leaderboard/published. where: column -> value of its lines. row: the column that
    holds the labels. benchmark, text: what it was measured on, and with which text encoder. about: source and setting,
    as the table says it."""

    file: str
    where: dict[str, str] = {}
    row: str
    benchmark: str
    text: str
    about: str

    def is_comparable(self, benchmark: str, text: str) -> bool:
        """With what was measured on a benchmark with a text encoder?"""
        return (self.benchmark, self.text) == (benchmark, text)

    def numbers(self) -> dict[str, dict[str, float]]:
        """Label -> column -> recall in percent. Raises RunError where the file is damaged."""
        path = PUBLISHED / self.file
        try:
            with path.open(encoding="utf-8", newline="") as lines:
                rows = [row for row in csv.DictReader(lines) if all(row[c] == v for c, v in self.where.items())]
            return {row[self.row]: {c: float(row[c]) for c in RECALLS if c in row} for row in rows}
        except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} cannot be read ({error!r}); restore it from version control.") from error


class AblationRow(Part):
    """One change. variant: None = the method's first. datasets: data set -> overrides there, in place of the others.

    printed: its label in the published table, None = the label. note: shown below the table. absent: why the harness
    cannot run it; its published numbers are shown all the same.
    """

    label: str = Field(min_length=1, pattern="^[^,]+$")  # --rows separates labels by commas
    variant: str | None = None
    overrides: dict[str, Any] = {}
    datasets: dict[str, dict[str, Any]] = {}
    printed: str | None = None
    note: str = ""
    absent: str = ""

    def changes(self, dataset: str) -> dict[str, Any]:
        """Its overrides on a data set."""
        return self.datasets.get(dataset, self.overrides)


class AblationTable(Part):
    """Rows that are compared with one of them, `full`."""

    title: str
    full: str
    published: PublishedTable | None = None
    rows: list[AblationRow] = Field(min_length=2)

    @model_validator(mode="after")
    def _consistent(self) -> AblationTable:
        labels = [row.label for row in self.rows]
        if len(set(labels)) < len(labels):
            raise ValueError("two rows have the same label")
        if self.full not in labels:
            raise ValueError(f"full: no row has the label '{self.full}'{nearest(self.full, labels)}")
        return self

    @property
    def reference(self) -> AblationRow:
        """The row that the others are compared with."""
        return next(row for row in self.rows if row.label == self.full)

    @cached_property
    def printed(self) -> dict[str, dict[str, float]]:
        """Label of a row -> its published numbers; rows that no paper has are left out."""
        numbers = self.published.numbers() if self.published else {}
        names = {row.label: row.printed or row.label for row in self.rows}
        return {label: numbers[name] for label, name in names.items() if name in numbers}

    @property
    def printed_recalls(self) -> list[str]:
        """The recalls that the paper prints for this table."""
        return [name for name in RECALLS if any(name in numbers for numbers in self.printed.values())]

    @property
    def printed_changes(self) -> dict[str, float]:
        """Label of a row -> published change of the sum of these recalls against the full row."""
        full = self.printed.get(self.full)
        if full is None:
            return {}
        return {
            label: sum(numbers[name] - full[name] for name in self.printed_recalls)
            for label, numbers in self.printed.items()
            if label != self.full
        }


class AblationSet(Part):
    """All tables of a method."""

    method: str
    tables: list[AblationTable] = Field(min_length=1)

    def rows(self) -> list[AblationRow]:
        """Every row that can be run, in order; a label that stands in two tables once."""
        return list({row.label: row for table in self.tables for row in table.rows if not row.absent}.values())

    def keys(self) -> set[str]:
        """Every recipe key that a row changes."""
        return {key for row in self.rows() for changes in (row.overrides, *row.datasets.values()) for key in changes}

    def chosen(self, labels: list[str]) -> list[AblationRow]:
        """The rows with these labels. Raises RunError where there is none, with the nearest label."""
        rows = {row.label: row for row in self.rows()}
        for label in labels:
            if label not in rows:
                raise RunError(
                    f"--rows {label}: the ablation set of {self.method} has no such row{nearest(label, list(rows))}; "
                    f"`itm ablate --method {self.method} --dataset NAME --list` lists them."
                )
        return [rows[label] for label in labels]

    def expected(self, row: AblationRow, dataset: str, common: dict[str, Any]) -> dict[str, Any]:
        """The recipe that a record of this row holds, but for what the data decides.

        common: overrides that all rows share. Raises MethodError where a key or value is wrong.
        """
        overrides = {**common, **row.changes(dataset)}
        entry = find_method(self.method, row.variant)
        variant = resolve_entry(entry, dataset, row.variant, overrides).variant
        members = entry.description.ensembles.get(variant)
        if members is None:
            return self._values(variant, dataset, overrides)
        return {member: self._values(member, dataset, overrides) for member in members}

    def _values(self, variant: str, dataset: str, overrides: dict[str, Any]) -> dict[str, Any]:
        entry = find_method(self.method, variant or None)
        return portable(resolve_entry(entry, dataset, variant or None, overrides).values())


def has_recipe(record: Record, recipe: dict[str, Any]) -> bool:
    """Was it made with this recipe? Sizes that the recipe leaves open may be anything.

    Variants are names for recipe values, and two names for the same values are the same run.
    """
    expected, found = dict(flatten(recipe)), dict(flatten(record.recipe))
    return expected.keys() == found.keys() and all(
        found[key] == value or _left_open(key, value) for key, value in expected.items()
    )


def _left_open(key: str, value: Any) -> bool:
    return value is None and key.endswith(FILLED_BY_DATA)


def set_names() -> list[str]:
    """The methods that have an ablation set."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_set(method: str) -> AblationSet:
    """A method's ablation set. Raises RunError where there is none, with the nearest name, or where it is not valid."""
    if method not in set_names():
        raise RunError(
            f"method {method} has no ablation set{nearest(method, set_names())}; there are sets for "
            f"{', '.join(set_names())}."
        )
    return load_set(FOLDER / f"{method}.yaml")


def load_set(path: Path) -> AblationSet:
    """The set of a YAML file, named as the method. Raises RunError where it is not valid, with the place."""
    try:
        found = AblationSet(method=path.stem, **yaml.safe_load(path.read_text(encoding="utf-8")))
        _require_equal_rows(found)
        return found
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise RunError(f"{path}: {where}: {fault['msg']}; correct it there.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise RunError(f"{path} cannot be read as an ablation set: {' '.join(str(error).split())}.") from error


def _require_equal_rows(found: AblationSet) -> None:
    """A label means the same change in every table."""
    meant: dict[str, tuple[Any, ...]] = {}
    for row in (row for table in found.tables for row in table.rows):
        change = (row.variant, row.overrides, row.datasets, row.absent)
        if meant.setdefault(row.label, change) != change:
            raise RunError(f"{FOLDER / found.method}.yaml: the label '{row.label}' stands for two different changes.")
