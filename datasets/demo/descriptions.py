"""What a machine might say of a picture, in two qualities: detection labels (star) and free text (dagger).

Both are written about a scene as a machine perceives it: with wrong attributes, and with objects missed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from itm_harness.datasets.demo import words
from itm_harness.datasets.demo.captions import THOROUGH, Writer, sentence
from itm_harness.datasets.demo.meaning import Entity, Meaning, Text
from itm_harness.datasets.demo.scenes import BACKGROUNDS, COLOURS, SHAPES, SIZES, TEXTURES, Scene, SceneObject, pick

STAR_ERROR, STAR_MISSED = 0.12, 0.2  # per attribute, per object
DAGGER_ERROR = 0.06
VALUES = {"shape": SHAPES, "colour": COLOURS, "size": SIZES, "texture": TEXTURES}


def star(scene: Scene, rng: np.random.Generator) -> Text:
    """Labels as of a detector: "red circle , striped box , star". No relations, and not every object."""
    seen = [o for o in misperceived(scene, STAR_ERROR, rng).objects if rng.random() >= STAR_MISSED]
    meaning, tokens = Meaning(), []
    for item in seen or scene.objects[:1]:
        said = {"colour": item.colour} if rng.random() < 0.75 else {}
        if item.texture != "plain" and rng.random() < 0.25:
            said = {"texture": item.texture, **said}
        labels = {"colour": words.COLOURS, "texture": words.TEXTURES}
        attributes = tuple(labels[name][value][0] for name, value in said.items())
        entity = Entity(words.SHAPES[item.shape][0], attributes, (("shape", item.shape), *said.items()))
        meaning.add(entity)
        tokens += [*attributes, entity.name, ","]
    return Text(tuple(tokens[:-1]), [], meaning)


def dagger(scene: Scene, rng: np.random.Generator) -> Text:
    """Sentences about every object and every relation."""
    writer = Writer(misperceived(scene, DAGGER_ERROR, rng), rng, THOROUGH)
    roots = [writer.count_all(), *(writer.clause(relation) for relation in scene.relations)]
    return Text(tuple(word for root in roots for word in sentence(root)[0]), [], writer.meaning)


def misperceived(scene: Scene, error: float, rng: np.random.Generator) -> Scene:
    """The scene with each attribute replaced by a random one with probability `error`."""

    def perceive(item: SceneObject) -> SceneObject:
        wrong = {name: pick(rng, values) for name, values in VALUES.items() if rng.random() < error}
        return replace(item, **wrong)

    background = pick(rng, BACKGROUNDS) if rng.random() < error else scene.background
    return replace(scene, objects=tuple(perceive(o) for o in scene.objects), background=background)
