"""Simulated sentence and CLIP encoders: fixed random directions for what a text or a picture says, plus noise.

No weights of a real encoder are needed, and texts about one scene lie close to each other, as they would under one.
Every vector is a function of its text (or picture) alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import combinations
from zlib import crc32

import numpy as np

from itm_harness.datasets.demo.meaning import Entity, Meaning
from itm_harness.datasets.demo.scenes import INVERSE, Kind, Scene, SceneObject, boxes, place

SENTENCE_WIDTH = 128
CLIP_WIDTH = 64
CLIP_NORM = 10.0  # about that of ViT-B/32's vectors, which are not normalised either
SENTENCE_NOISE = 1.0  # length of the noise beside a unit vector
CLIP_NOISE = 0.6
PAIR_WEIGHT = 0.7  # two attributes of one object together: what tells a red circle from a circle beside something red
LINK_WEIGHT = 0.8
CANONICAL = {inverse: kind for kind, inverse in INVERSE.items()}

Weights = dict[str, float]


def sentence_vector(text: str, meaning: Meaning) -> np.ndarray:
    """(SENTENCE_WIDTH,) unit vector of a caption or a description."""
    content = unit(_directions(_meaning(meaning), SENTENCE_WIDTH))
    return unit(content + SENTENCE_NOISE * _noise(f"sentence {text}", SENTENCE_WIDTH))


def entity_vector(entity: Entity) -> np.ndarray:
    """(SENTENCE_WIDTH,) vector of "name is attribute attribute"; not normalised, as a [CLS] vector is not."""
    text = " ".join([entity.name, *entity.attributes])
    return _directions(_thing(entity.content), SENTENCE_WIDTH) + _noise(f"entity {text}", SENTENCE_WIDTH)


def clip_text_vector(text: str, meaning: Meaning) -> np.ndarray:
    """(CLIP_WIDTH,) simulated CLIP vector of a caption, of length CLIP_NORM."""
    content = unit(_directions(_meaning(meaning, links=False), CLIP_WIDTH))
    return CLIP_NORM * unit(content + CLIP_NOISE * _noise(f"clip text {text}", CLIP_WIDTH))


def clip_image_vector(name: str, scene: Scene) -> np.ndarray:
    """(CLIP_WIDTH,) simulated CLIP vector of a picture. Like CLIP it sees objects well and relations not at all."""
    weights: Weights = {}
    for item, box in zip(scene.objects, boxes(scene), strict=True):
        _add(weights, _thing(_looks(item)))
        _add(weights, _thing(tuple(zip(("row", "column"), place(box), strict=True))), 0.3)
    _add(weights, {f"background={scene.background}": 1.0, f"count={len(scene.objects)}": 1.0})
    return CLIP_NORM * unit(unit(_directions(weights, CLIP_WIDTH)) + CLIP_NOISE * _noise(f"clip {name}", CLIP_WIDTH))


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector at length 1; a zero vector stays zero."""
    return vector / max(float(np.sqrt((vector * vector).sum())), 1e-12)


def _meaning(meaning: Meaning, links: bool = True) -> Weights:
    """Everything that a text says, as named directions with weights."""
    weights: Weights = {}
    for entity in meaning.entities:
        _add(weights, _thing(entity.content))
    for link in meaning.links if links else ():
        subject, kind, other = meaning.entities[link.subject], link.kind, meaning.entities[link.object]
        if kind in CANONICAL:
            subject, kind, other = other, CANONICAL[kind], subject
        if kind is not Kind.AT:
            _add(weights, dict.fromkeys(_ends(subject, kind, other), LINK_WEIGHT))
    return weights


def _thing(content: tuple[tuple[str, str], ...]) -> Weights:
    single = {f"{name}={value}": 1.0 for name, value in content}
    pairs = {f"{one}&{two}": PAIR_WEIGHT for one, two in combinations(sorted(single), 2)}
    return single | pairs


def _ends(subject: Entity, kind: Kind, other: Entity) -> Iterable[str]:
    yield f"{kind}"
    for name in ("shape", "colour"):
        ends = [dict(entity.content).get(name, "?") for entity in (subject, other)]
        yield f"{kind}({', '.join(sorted(ends) if kind is Kind.BESIDE else ends)})"


def _looks(item: SceneObject) -> tuple[tuple[str, str], ...]:
    return tuple((name, getattr(item, name)) for name in ("shape", "colour", "size", "texture"))


def _add(weights: Weights, more: Weights, factor: float = 1.0) -> None:
    for name, weight in more.items():
        weights[name] = weights.get(name, 0.0) + factor * weight


def _directions(weights: Weights, width: int) -> np.ndarray:
    return sum((weight * _direction(name, width) for name, weight in weights.items()), np.zeros(width))


@cache
def _direction(name: str, width: int) -> np.ndarray:
    """A random direction of about unit length that belongs to a name."""
    return _noise(f"direction {name}", width)


def _noise(seed: str, width: int) -> np.ndarray:
    return np.random.default_rng(crc32(seed.encode())).standard_normal(width) / np.sqrt(width)
