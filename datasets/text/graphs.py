"""Scene graphs of captions: texts of their entities, and which entities are related."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.json_file import read_json

SLOTS = 16  # entities per caption, as VSSR's released files have; further ones are left out


@dataclass(frozen=True)
class Graph:
    """A caption's scene graph, cut to SLOTS entities.

    entities: their texts, "name" or "name is attribute attribute". relations: (subject, relation, object), positions
    among the entities.
    """

    entities: tuple[str, ...]
    relations: tuple[tuple[int, str, int], ...]


def read_graphs(path: Path, captions: Sequence[str]) -> list[Graph]:
    """The graphs of a split: a JSON list with {"entities": [{"name", "attributes"}], "relations": [{"subject",
    "relation", "object"}]} per caption, and "caption" if it is known.

    Raises DataError where the file is no such list or is of other captions.
    """
    content = read_json(path)
    try:
        graphs = [_graph(entry) for entry in content]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
        raise DataError(
            f"{path} does not hold a JSON list of scene graphs, each with entities (name, attributes) and relations "
            f"(subject, relation, object; positions of entities): {type(error).__name__} {error}; write it anew."
        ) from error
    if len(graphs) != len(captions):
        raise DataError(f"{path} holds {len(graphs):,} graphs for {len(captions):,} captions; write it anew.")
    for i, (entry, caption) in enumerate(zip(content, captions, strict=True)):
        if str(entry.get("caption", caption)).split() != caption.split():
            raise DataError(f"{path}, graph {i}, is of '{entry['caption']}', not of caption {i}, '{caption}'.")
    return graphs


def relation_numbers(graphs: Iterable[Graph]) -> dict[str, int]:
    """Relation -> its number, from 1, in the alphabet's order."""
    names = {relation for graph in graphs for _, relation, _ in graph.relations}
    return {name: number for number, name in enumerate(sorted(names), start=1)}


def relation_matrices(graphs: Sequence[Graph], numbers: Mapping[str, int]) -> np.ndarray:
    """(n, SLOTS, SLOTS) int32: the number of the relation of subject (row) and object (column), 0 = none.

    A relation without a number gets the one behind the last; of several between the same two the first counts.
    """
    matrices = np.zeros((len(graphs), SLOTS, SLOTS), np.int32)
    unknown = len(numbers) + 1
    for matrix, graph in zip(matrices, graphs, strict=True):
        for subject, relation, other in reversed(graph.relations):
            matrix[subject, other] = numbers.get(relation, unknown)
    return matrices


def _graph(entry: Mapping[str, Any]) -> Graph:
    count = len(entry["entities"])
    relations = [(int(r["subject"]), str(r["relation"]), int(r["object"])) for r in entry["relations"]]
    if any(not 0 <= position < count for subject, _, other in relations for position in (subject, other)):
        raise IndexError(f"a relation of '{entry.get('caption', '')}' points beyond its {count} entities")
    kept = tuple(r for r in relations if max(r[0], r[2]) < SLOTS)
    return Graph(tuple(_entity_text(e["name"], e["attributes"]) for e in entry["entities"][:SLOTS]), kept)


def _entity_text(name: str, attributes: Sequence[str]) -> str:
    """As VSSR writes it."""
    return f"{name} is {' '.join(attributes)}" if attributes else str(name)
