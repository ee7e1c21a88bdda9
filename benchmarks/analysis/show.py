"""`show`: one query of a record, its ranked list with the right items marked; in the terminal, or as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from itm_harness.benchmarks.analysis.retrieval import (
    DIRECTIONS,
    Answer,
    Gallery,
    answer,
    benchmark_of,
    open_gallery,
    require_same_data,
)
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.opening import Opened, open_record

RIGHT = "✓"


@dataclass(frozen=True)
class LookUp:
    """A query of a benchmark, and what one record, or two, answered: answers are in the order of opened."""

    benchmark: str
    gallery: Gallery
    opened: list[Opened]
    answers: list[Answer]

    def document(self) -> dict[str, Any]:
        """For JSON. right: the items that belong to the query. text: a caption, or a picture's name."""
        first = self.answers[0]
        kind, item = DIRECTIONS[first.direction]
        return {
            "benchmark": self.benchmark,
            "direction": first.direction,
            "query": first.query,
            "text": self._text(kind, first.query),
            "right": [{"item": number, "text": self._text(item, number)} for number in first.right],
            "answers": [
                {
                    "record": opened.record.id,
                    "rank": found.rank,
                    "best": [{**asdict(hit), "text": self._text(item, hit.item)} for hit in found.hits],
                }
                for opened, found in zip(self.opened, self.answers, strict=True)
            ],
        }

    def _text(self, kind: str, number: int) -> str:
        return self.gallery.captions[number] if kind == "caption" else self.gallery.name_of(number)


def look_up(
    record: str,
    query: int,
    direction: str,
    against: str | None,
    benchmark: str | None,
    dataset: str | None,
    results: Path,
    data_root: Path | None,
) -> LookUp:
    """A query, and what one record, or two, answered.

    dataset: where the captions are from; None = the record's data set, by its name. Raises RunError or DataError where
    a record, a benchmark or a query does not exist, or the data are not at hand.
    """
    opened = [open_record(name, results) for name in (record, against) if name is not None]
    chosen = benchmark_of(opened[0], benchmark)
    _require_benchmark(opened, chosen)
    answers = [answer(o.details[chosen], direction, query) for o in opened]
    gallery = open_gallery(dataset or opened[0].record.dataset, data_root)
    for o in opened:
        require_same_data(gallery, o.record, o.details[chosen])
    return LookUp(chosen, gallery, opened, answers)


def show(found: LookUp, console: Console) -> None:
    """Print a query and its answers."""
    _print_query(found.answers[0], found.benchmark, found.gallery, console)
    for opened, answered in zip(found.opened, found.answers, strict=True):
        console.print(_answer_table(opened, answered, found.gallery))


def _require_benchmark(opened: list[Opened], benchmark: str) -> None:
    for o in opened:
        if benchmark not in o.record.metrics:
            raise RunError(
                f"{o.record.id} was not measured on {benchmark} but on {', '.join(o.record.metrics)}; "
                f"choose two records of one data set."
            )


def _print_query(found: Answer, benchmark: str, gallery: Gallery, console: Console) -> None:
    kind, item = DIRECTIONS[found.direction]
    lines = [f"{benchmark}, {kind} {found.query}: the {item}s that fit best"]
    if kind == "image":
        lines += [f"picture {gallery.name_of(found.query)}; its captions:"]
        lines += [f"  {number} {gallery.captions[number]}" for number in found.right]
    else:
        (image,) = found.right
        lines += [f"  {gallery.captions[found.query]}", f"its picture: image {image}, {gallery.name_of(image)}"]
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _answer_table(opened: Opened, found: Answer, gallery: Gallery) -> Table:
    """The ranked list of a record; an image is told by its picture and its first caption."""
    seen = "" if any(hit.right for hit in found.hits) else ", not among the best listed"
    title = f"{opened.record.id}: rank {found.rank}{seen}"
    item = DIRECTIONS[found.direction][1]
    table = Table(
        "", "right", item, "score", "caption" if item == "caption" else "picture and first caption", title=title
    )
    for place, hit in enumerate(found.hits, start=1):
        text = gallery.captions[hit.item] if item == "caption" else _image_text(hit.item, gallery)
        cells = str(place), RIGHT if hit.right else "", str(hit.item), f"{hit.score:.4f}"
        table.add_row(*cells, Text(text), style="bold green" if hit.right else None)
    return table


def _image_text(image: int, gallery: Gallery) -> str:
    return f"{gallery.name_of(image)}: {gallery.captions_of(image)[0]}"
