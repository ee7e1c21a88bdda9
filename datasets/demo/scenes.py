"""What a scene is: two to five objects on a background, tied by one relation each; and its twin.

A scene is symbolic. Where its objects lie follows from its relations: each object has a cell of a 3 × 3 grid, and
`boxes` turns cells into pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from typing import TypeVar

import numpy as np

CANVAS = 96  # pixels, width and height of a picture
CELL = CANVAS // 3
SIDES = {"small": 12, "medium": 20, "large": 28}  # pixels; the largest leaves room for a jitter of ±2 in its cell
SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "diamond", "heart")
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "white", "black")
HOSTS = ("circle", "square", "ring", "diamond", "heart")  # wide enough in the middle to hold a small object
SIZES = tuple(SIDES)
TEXTURES = ("plain", "striped", "dotted", "checked")
BACKGROUNDS = ("grey", "beige", "dark", "pale")
ROWS = ("top", "middle", "bottom")
COLUMNS = ("left", "centre", "right")

TWIN_SHARE = 0.35  # of the images: enough that telling twins apart shows in R@1
BINDING_SHARE = 0.5  # of the twins exchange an attribute, the others differ in a relation

Item = TypeVar("Item")


class Kind(StrEnum):
    """A relation as captions say it. Scenes hold the first four; the others are their inverses and vague forms."""

    LEFT_OF = "left of"
    ABOVE = "above"
    ON = "on"
    INSIDE = "inside"
    RIGHT_OF = "right of"
    BELOW = "below"
    UNDER = "under"
    AROUND = "around"
    BESIDE = "beside"
    AT = "at"  # of an object: in a part of the picture, or before the background


SCENE_KINDS = (Kind.LEFT_OF, Kind.ABOVE, Kind.ON, Kind.INSIDE)
SCENE_KIND_SHARES = (0.4, 0.25, 0.2, 0.15)
INVERSE = {
    Kind.LEFT_OF: Kind.RIGHT_OF,
    Kind.ABOVE: Kind.BELOW,
    Kind.ON: Kind.UNDER,
    Kind.INSIDE: Kind.AROUND,
}
OFFSETS = {Kind.LEFT_OF: (-1, 0), Kind.ABOVE: (0, -1), Kind.ON: (0, -1), Kind.INSIDE: (0, 0)}  # subject − object


@dataclass(frozen=True)
class SceneObject:
    """One object. jitter: its distance from the middle of its cell, in pixels (x, y)."""

    shape: str
    colour: str
    size: str
    texture: str
    jitter: tuple[int, int]

    @property
    def look(self) -> tuple[str, ...]:
        """All but the place."""
        return self.shape, self.colour, self.size, self.texture


@dataclass(frozen=True)
class Relation:
    """objects[subject] is `kind` objects[object]."""

    subject: int
    kind: Kind
    object: int


@dataclass(frozen=True)
class Scene:
    """relations[i] ties object i + 1 to an earlier one. anchor: where the group lies in the picture, (0..1, 0..1)."""

    objects: tuple[SceneObject, ...]
    relations: tuple[Relation, ...]
    background: str
    anchor: tuple[float, float]

    @property
    def content(self) -> tuple:
        """What is to be seen apart from exact pixels; equal contents cannot be told apart by any caption."""
        return tuple(o.look for o in self.objects), frozenset(self.relations), self.background


def pick(rng: np.random.Generator, options: Sequence[Item], shares: Sequence[float] | None = None) -> Item:
    """One of the options, uniformly or with the given shares (they sum to 1)."""
    if shares is None:
        return options[int(rng.random() * len(options))]
    return options[min(int(np.searchsorted(np.cumsum(shares), rng.random(), side="right")), len(options) - 1)]


def sample_scenes(count: int, rng: np.random.Generator) -> list[Scene]:
    """`count` scenes, all different in content; twins stand beside each other, so that folds keep them together."""
    return list(islice(_distinct(_families(rng)), count))


def _families(rng: np.random.Generator) -> Iterator[tuple[Scene, ...]]:
    family_share = TWIN_SHARE / (2 - TWIN_SHARE)  # a family of twins counts twice among the images
    while True:
        scene = sample_scene(rng)
        other = twin(scene, rng) if rng.random() < family_share else None
        yield (scene, other) if other else (scene,)


def _distinct(families: Iterator[tuple[Scene, ...]]) -> Iterator[Scene]:
    seen = set()
    for family in families:
        if seen.isdisjoint(scene.content for scene in family):
            seen.update(scene.content for scene in family)
            yield from family


def sample_scene(rng: np.random.Generator) -> Scene:
    """A random scene that fits the grid."""
    count = pick(rng, (2, 3, 4, 5), (0.25, 0.35, 0.25, 0.15))
    while True:
        relations = tuple(_attach(new, rng) for new in range(1, count))
        objects = _fit_hosts([_sample_object(rng) for _ in range(count)], relations)
        scene = Scene(objects, relations, pick(rng, BACKGROUNDS), (rng.random(), rng.random()))
        if is_valid(scene):
            return scene


def _sample_object(rng: np.random.Generator) -> SceneObject:
    return SceneObject(
        shape=pick(rng, SHAPES),
        colour=pick(rng, COLOURS),
        size=pick(rng, SIZES),
        texture=pick(rng, TEXTURES, (0.4, 0.2, 0.2, 0.2)),
        jitter=(int(rng.integers(-2, 3)), int(rng.integers(-2, 3))),
    )


def _attach(new: int, rng: np.random.Generator) -> Relation:
    old, kind = int(rng.integers(new)), pick(rng, SCENE_KINDS, SCENE_KIND_SHARES)
    return Relation(new, kind, old) if rng.random() < 0.5 else Relation(old, kind, new)


def _fit_hosts(objects: list[SceneObject], relations: Sequence[Relation]) -> tuple[SceneObject, ...]:
    """Large hosts and small guests, so that what is inside fits."""
    for relation in relations:
        if relation.kind is Kind.INSIDE:
            objects[relation.object] = replace(objects[relation.object], size="large")
            objects[relation.subject] = replace(objects[relation.subject], size="small")
    return tuple(objects)


def is_valid(scene: Scene) -> bool:
    """Does the scene fit the grid, one object a cell, no two alike, with guests that can be seen in their hosts?"""
    inside = [r for r in scene.relations if r.kind is Kind.INSIDE]
    guests = [r.subject for r in inside]
    hosts = [r.object for r in inside]
    if len({*guests, *hosts}) < 2 * len(inside):  # a host has one guest and is no guest
        return False
    if any(r.kind is not Kind.INSIDE and {r.subject, r.object} & set(guests) for r in scene.relations):
        return False
    pairs = [(scene.objects[r.subject], scene.objects[r.object]) for r in inside]
    if any(g.colour == h.colour or h.shape not in HOSTS or (g.size, h.size) != ("small", "large") for g, h in pairs):
        return False
    if len({o.look for o in scene.objects}) < len(scene.objects):
        return False
    cells = _relative_cells(scene)
    outer = [tuple(cell) for i, cell in enumerate(cells) if i not in guests]
    return len(set(outer)) == len(outer) and bool((np.ptp(cells, axis=0) < 3).all())


def _relative_cells(scene: Scene) -> np.ndarray:
    """(n, 2) column and row of each object, relative to object 0."""
    cells = np.zeros((len(scene.objects), 2), dtype=int)
    for new, relation in enumerate(scene.relations, start=1):
        offset = np.array(OFFSETS[relation.kind])
        cells[new] = cells[relation.object] + offset if relation.subject == new else cells[relation.subject] - offset
    return cells


def grid_cells(scene: Scene) -> np.ndarray:
    """(n, 2) column and row of each object in the grid, 0..2."""
    cells = _relative_cells(scene)
    free = 2 - np.ptp(cells, axis=0)  # by how many cells the group can be moved
    return cells - cells.min(axis=0) + (np.array(scene.anchor) * (free + 1)).astype(int)


def boxes(scene: Scene) -> np.ndarray:
    """(n, 4) float, x1, y1, x2, y2 in pixels. What is on something touches it; what is inside lies in its middle."""
    sides = np.array([SIDES[o.size] for o in scene.objects])
    centres = grid_cells(scene) * CELL + CELL / 2 + np.array([o.jitter for o in scene.objects])
    for new, r in enumerate(scene.relations, start=1):  # in this order the older object of each pair is in its place
        old = r.object if r.subject == new else r.subject
        if r.kind is Kind.INSIDE:
            centres[new] = centres[old]
        elif r.kind is Kind.ON:
            touch = (sides[new] + sides[old]) / 2
            centres[new] = centres[old] + (0, -touch if r.subject == new else touch)
    return np.hstack([centres - sides[:, None] / 2, centres + sides[:, None] / 2])


def place(box: np.ndarray) -> tuple[str, str]:
    """Row and column of the picture's thirds that hold the middle of a box."""
    x, y = (box[:2] + box[2:]) / 2
    return ROWS[int(np.clip(y // CELL, 0, 2))], COLUMNS[int(np.clip(x // CELL, 0, 2))]


def twin(scene: Scene, rng: np.random.Generator) -> Scene | None:
    """A valid scene that differs in one relation, or in whose objects one attribute has changed places.

    None where the scene has no twin of the kind that was drawn.
    """
    exchange = rng.random() < BINDING_SHARE
    twins = [t for t in (_bindings(scene) if exchange else _relation_changes(scene)) if is_valid(t)]
    return pick(rng, twins) if twins else None


def _bindings(scene: Scene) -> Iterator[Scene]:
    """Two objects exchange their colour or their texture."""
    for attribute in ("colour", "texture"):
        for j in range(len(scene.objects)):
            for i in range(j):
                one, two = (getattr(scene.objects[k], attribute) for k in (i, j))
                if one != two:
                    objects = list(scene.objects)
                    objects[i] = replace(objects[i], **{attribute: two})
                    objects[j] = replace(objects[j], **{attribute: one})
                    yield replace(scene, objects=tuple(objects))


def _relation_changes(scene: Scene) -> Iterator[Scene]:
    """An object that is in one relation only changes sides; or, more rarely, its relation becomes another."""
    ends = [end for r in scene.relations for end in (r.subject, r.object)]
    for index, r in enumerate(scene.relations):
        if r.kind is Kind.INSIDE or min(ends.count(r.subject), ends.count(r.object)) > 1:
            continue
        flipped = Relation(r.object, r.kind, r.subject)
        others = [Relation(r.subject, kind, r.object) for kind in SCENE_KINDS[:3] if kind is not r.kind]
        for changed in (flipped, flipped, *others):
            yield replace(scene, relations=(*scene.relations[:index], changed, *scene.relations[index + 1 :]))
