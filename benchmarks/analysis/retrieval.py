"""What a record answered to one query, and the captions, pictures and boxes behind the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.opening import Opened
from itm_harness.benchmarks.records.schema import Details, Record
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.pictures.folder import find_pictures
from itm_harness.datasets.precomp import Dataset, open_dataset
from itm_harness.datasets.sidecars import open_sidecar, sidecar_missing
from itm_harness.datasets.spec import nearest

SPLIT = "test"  # what every benchmark is measured on
DIRECTIONS = {"i2t": ("image", "caption"), "t2i": ("caption", "image")}  # direction -> query, item


@dataclass(frozen=True)
class Hit:
    """An item of a ranked list. right: does it belong to the query?"""

    item: int
    score: float
    right: bool


@dataclass(frozen=True)
class Answer:
    """What a record answered. rank: of the best right item, from 1, ties counted against it. right: all right items."""

    direction: str
    query: int
    rank: int
    hits: list[Hit]
    right: list[int]


@dataclass(frozen=True)
class Gallery:
    """A test split as people see it.

    captions: one per text. image_of_text: (n_texts,) int. image_ids: one per image. pictures: a file per image, None
    where they are not at hand, and then no_pictures says why. boxes: (n_images, regions, 4) x1, y1, x2, y2 as shares of
    the picture, None where there are none.
    """

    dataset: str
    captions: list[str]
    image_of_text: np.ndarray
    image_ids: list[str]
    pictures: list[Path] | None
    no_pictures: str
    boxes: np.ndarray | None

    def captions_of(self, image: int) -> list[str]:
        """An image's own captions."""
        return [self.captions[i] for i in np.flatnonzero(self.image_of_text == image)]

    def name_of(self, image: int) -> str:
        """The picture's file name, or the image's id."""
        return self.pictures[image].name if self.pictures else f"id {self.image_ids[image]}"


def open_gallery(dataset: str, data_root: Path | None = None) -> Gallery:
    """The test split of a data set, by its name or the path of its YAML. Raises DataError where it is not at hand."""
    opened = open_dataset(dataset, data_root)
    layout = opened.layout(SPLIT)
    pictures, why = _pictures(opened)
    return Gallery(
        opened.spec.name, layout.captions, layout.image_of_text, layout.image_ids, pictures, why, _boxes(opened)
    )


def _pictures(dataset: Dataset) -> tuple[list[Path] | None, str]:
    try:
        return find_pictures(dataset, SPLIT), ""
    except DataError as error:
        return None, str(error)


def _boxes(dataset: Dataset) -> np.ndarray | None:
    """(n_images, regions, 4) float32 in 0..1, None where the data set has none."""
    name = next((name for name, spec in dataset.spec.sidecars.items() if spec.kind == "boxes"), None)
    if name is None or sidecar_missing(dataset.spec, name, dataset.folder, SPLIT):
        return None
    sidecar = open_sidecar(dataset.spec, name, dataset.folder, SPLIT, dataset.layout(SPLIT))
    return sidecar.gather(sidecar.rows)


def require_same_data(gallery: Gallery, record: Record, details: Details) -> None:
    """Raises DataError where a record was measured on other captions than those at hand."""
    if not np.array_equal(gallery.image_of_text, details.image_of_text):
        raise DataError(
            f"{record.id} was measured on {len(details.i2t_ranks):,} images and {len(details.t2i_ranks):,} captions "
            f"that are not the test split of {gallery.dataset} at hand ({len(gallery.image_ids):,} and "
            f"{len(gallery.captions):,}); name the folder above the data of the run with --data-root."
        )


def benchmark_of(opened: Opened, name: str | None) -> str:
    """A benchmark of a record: the named one, or the one with the largest galleries.

    Raises RunError where the record has no such benchmark, with the nearest name.
    """
    metrics = opened.record.metrics
    if name is None:
        return min(metrics, key=lambda benchmark: metrics[benchmark].folds)
    if name not in metrics:
        known = ", ".join(metrics)
        raise RunError(f"{opened.record.id} has no benchmark '{name}'{nearest(name, list(metrics))}; it has: {known}.")
    return name


def answer(details: Details, direction: str, query: int) -> Answer:
    """The ranked list of a query. direction: i2t or t2i. query: position in the test split, from 0.

    Raises RunError where there is no such direction or query.
    """
    if direction not in DIRECTIONS:
        raise RunError(f"--direction {direction} is not known; use i2t (captions of an image) or t2i.")
    ranks, top, scores = (getattr(details, f"{direction}_{part}") for part in ("ranks", "top", "scores"))
    if not 0 <= query < len(ranks):
        raise RunError(
            f"--query {query}: there are {len(ranks):,} {DIRECTIONS[direction][0]}s, numbered from 0 to "
            f"{len(ranks) - 1}; give one of these."
        )
    right = right_items(details, direction, query)
    listed = [(int(i), float(s)) for i, s in zip(top[query], scores[query], strict=True) if np.isfinite(s)]
    hits = [Hit(item, score, item in right) for item, score in listed]
    return Answer(direction, query, int(ranks[query]) + 1, hits, right)


def right_items(details: Details, direction: str, query: int) -> list[int]:
    """The captions of an image, or the image of a caption."""
    if direction == "i2t":
        return np.flatnonzero(details.image_of_text == query).tolist()
    return [int(details.image_of_text[query])]
