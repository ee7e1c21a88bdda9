"""prepare --what descriptions: what vision-language models say of the pictures, as texts that `sentences` encodes.

A Florence-2 gives labels of what it detects (VSD's star), a chat model free text (dagger). The released vectors come
without their texts; how labels become one line (", " between them) is ours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from itm_harness.benchmarks.preparing.content import PREPARED, Source, Target, encoded_manifest, shown
from itm_harness.benchmarks.preparing.describers import Describer, open_describer
from itm_harness.benchmarks.preparing.product import Product
from itm_harness.benchmarks.preparing.texts import descriptions_path
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import Manifest, read_manifest
from itm_harness.datasets.pictures.folder import find_pictures


class Descriptions(Product):
    """Per model and split the answers in prepared/, a JSON line per image, and the text file made of them."""

    name = "descriptions"

    def targets(self) -> list[Target]:
        """Answers and texts of each model and split. Raises DataError where a model is missing."""
        return [
            target
            for describer in self.describers
            for split in self.job.splits
            for target in self._of_split(describer, split)
        ]

    @cached_property
    def describers(self) -> list[Describer]:
        """The models that the options name; at most one of a kind."""
        options = self.job.options
        found = [open_describer(name, options, self.job.models) for name in options.describers]
        kinds = [describer.kind for describer in found]
        if len(set(kinds)) < len(kinds):
            raise DataError(
                f"--describer {','.join(options.describers)}: several would write the same {{split}}_{kinds[0]}.txt; "
                f"name one Florence-2 and one chat model at most."
            )
        return found

    def _of_split(self, describer: Describer, split: str) -> list[Target]:
        dataset, images = self.job.dataset, self.job.options.images
        file_split = dataset.spec.file_split(split)
        answers = dataset.folder / PREPARED / f"{file_split}_{describer.kind}.jsonl"

        def content() -> Answers:
            return Answers(dataset.layout(split).image_ids, find_pictures(dataset, split, images), describer)

        return [
            Target(answers, split, content, check=lambda: find_pictures(dataset, split, images)),
            Target(
                descriptions_path(dataset, describer.kind, split),
                split,
                lambda: Texts(answers),
                sources=[Source(answers, "answers of a model")],
            ),
        ]


@dataclass(frozen=True)
class Answers:
    """(images,) JSON lines: the image's id, its file, what the model said, and the labels where it gave some."""

    image_ids: Sequence[str]
    paths: Sequence[Path]
    describer: Describer

    @property
    def step(self) -> int:
        """Pictures that the model is shown at a time."""
        return self.describer.step

    @property
    def manifest(self) -> Manifest:
        """Which model was asked what."""
        return encoded_manifest(self.describer, shown(self.paths), (len(self.paths),), "text")

    def rows(self, start: int, stop: int) -> list[str]:
        """The lines of some pictures."""
        said = self.describer.describe(self.paths[start:stop])
        about = zip(self.image_ids[start:stop], self.paths[start:stop], said, strict=True)
        return [
            json.dumps({"image": image, "file": path.name, **answer}, ensure_ascii=False)
            for image, path, answer in about
        ]


@dataclass(frozen=True)
class Texts:
    """(images,) a line of text per image, from the file of answers."""

    answers: Path
    step: ClassVar[int] = 1024

    @property
    def manifest(self) -> Manifest:
        """That of the answers."""
        return read_manifest(self.answers).model_copy(update={"rows": ""})

    def rows(self, start: int, stop: int) -> list[str]:
        """The lines of some pictures."""
        with self.answers.open(encoding="utf-8") as lines:
            return [as_text(json.loads(line)) for line in list(lines)[start:stop]]


def as_text(answer: dict) -> str:
    """One line: the labels as they were given, or the model's words without line ends."""
    return ", ".join(answer["labels"]) if "labels" in answer else " ".join(answer["text"].split())
