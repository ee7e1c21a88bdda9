"""The data that a record was made from, compared with the data at hand."""

from __future__ import annotations

from pathlib import Path

from itm_harness.benchmarks.records.schema import Record
from itm_harness.benchmarks.runs.job import WHOLE, data_contents
from itm_harness.datasets.batch import Inputs
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.precomp import Dataset, open_dataset
from itm_harness.datasets.split import open_split
from itm_harness.methods.errors import MethodError
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.registry import find_method

FROM_TEXTS = ("captions", "image ids")  # parts of every split
FROM_METHOD = ("tokens", "pictures")  # parts that depend on what the method asks for


class DataAtHand:
    """Hashes of what lies on disk, each computed once. root: the data root. whole: large files from end to end too."""

    def __init__(self, root: Path | None, whole: bool) -> None:
        self.root, self.whole = root, whole
        self._datasets: dict[str, Dataset | str] = {}
        self._hashes: dict[tuple, dict[str, str]] = {}
        self._missing: dict[str, int] = {}
        self._asked: dict[str, Inputs] = {}

    def changed(self, record: Record) -> list[str]:
        """A sentence for each part of the data at hand that is not what the record was made from."""
        if not record.data:
            self._note(f"records of {record.dataset} that hold no hashes of what was read (made before there were any)")
            return []
        try:
            dataset = self._dataset(record)
        except DataError as error:
            self._note(f"records of {record.dataset}, whose data are not at hand ({error})")
            return []
        wanted = [key for key in record.data if self.whole or not key.endswith(WHOLE)]
        sentences = []
        for key in wanted:
            found = self._found(record, dataset, key)
            if found is not None and found != record.data[key]:
                sentences.append(
                    f"{key} at hand ({dataset.folder}) is not what it was made from; give that data's --data-root, or "
                    f"run it again."
                )
        return sentences

    def unavailable(self) -> list[str]:
        """What could not be compared, and of how many records."""
        return [f"not compared: {what}: {count}." for what, count in self._missing.items()]

    def _note(self, what: str) -> None:
        self._missing[what] = self._missing.get(what, 0) + 1

    def _dataset(self, record: Record) -> Dataset:
        if record.dataset not in self._datasets:
            try:
                self._datasets[record.dataset] = open_dataset(record.asked("--dataset", record.dataset), self.root)
            except DataError as error:
                self._datasets[record.dataset] = str(error)
        found = self._datasets[record.dataset]
        if isinstance(found, str):
            raise DataError(found)
        return found

    def _found(self, record: Record, dataset: Dataset, key: str) -> str | None:
        """Hash of one part of one split; None, and a note, where it cannot be read as the record's run did."""
        split, _, part = key.removesuffix(WHOLE).partition(" ")
        try:
            inputs = self._inputs(record, dataset, part)
            place = (record.dataset, split, record.limit, repr(inputs))
            if place not in self._hashes:
                opened = open_split(dataset, split, inputs, limit=record.limit)
                self._hashes[place] = data_contents([opened], self.whole)
        except (DataError, MethodError) as error:
            self._note(f"{part} of {record.dataset} ({error})")
            return None
        hashes = self._hashes[place]
        if key not in hashes:  # the file was large when it was recorded, or is now
            return hashes.get(f"{split} {part}", "none")
        return hashes[key]

    def _inputs(self, record: Record, dataset: Dataset, part: str) -> Inputs:
        """What reads this part and no other. Raises DataError or MethodError where that cannot be known here."""
        if part in FROM_TEXTS:
            return Inputs(regions=False)
        if part == "features":
            return Inputs()
        if part in FROM_METHOD:
            asked = self._asked_inputs(record)
            only = {"text": asked.text} if part == "tokens" else {"pixels": asked.pixels}
            return Inputs(regions=False, **only)
        side = dataset.spec.sidecar(part).side
        return Inputs(regions=False, **{f"{side}_sidecars": (part,)})

    def _asked_inputs(self, record: Record) -> Inputs:
        """Of all seeds of a row once."""
        if {"imported", "transfer", "ensemble"} & set(record.flags):
            raise DataError("their vocabulary or settings are in the checkpoint")
        if record.group_key not in self._asked:
            self._asked[record.group_key] = _asked_inputs(record)
        return self._asked[record.group_key]


def _asked_inputs(record: Record) -> Inputs:
    """What the method that a record's command names reads, with the record's overrides."""
    variant = record.variant or None
    entry = find_method(record.asked("--method", record.method), variant)
    recipe = resolve_entry(entry, record.dataset, variant, record.overrides)
    return entry.description.bare(recipe.config).inputs()
