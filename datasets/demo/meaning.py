"""What a text says of a scene: entities with attributes, and links between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from itm_harness.datasets.demo.scenes import Kind
from itm_harness.datasets.demo.syntax import Pairs


@dataclass(frozen=True)
class Entity:
    """Something that a text names. attributes: its adjectives as written. content: what they mean, colour → red."""

    name: str
    attributes: tuple[str, ...] = ()
    content: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Link:
    """entities[subject] is `kind` entities[object], in these words."""

    subject: int
    words: str
    object: int
    kind: Kind


@dataclass
class Meaning:
    """The scene graph of a text."""

    entities: list[Entity] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def add(self, entity: Entity) -> int:
        """Returns the entity's position."""
        self.entities.append(entity)
        return len(self.entities) - 1


@dataclass(frozen=True)
class Text:
    """A caption or a description. pairs: [head, dependent], see syntax.linearise; descriptions have none."""

    words: tuple[str, ...]
    pairs: Pairs
    meaning: Meaning

    def __str__(self) -> str:
        return " ".join(self.words)

    def graph(self) -> dict[str, Any]:
        """The scene graph as FACTUAL-based methods read it."""
        entities = [{"name": e.name, "attributes": list(e.attributes)} for e in self.meaning.entities]
        relations = [{"subject": k.subject, "relation": k.words, "object": k.object} for k in self.meaning.links]
        return {"caption": str(self), "entities": entities, "relations": relations}
