"""Simulated region features: what a detector might return for the picture of a scene.

A region is a box with a code: how much of each shape, colour, size, texture and background is in it, and where it lies.
Its feature is a fixed random projection of the code, plus noise. Objects are at times split into two regions or missed;
other regions hold two objects at once, background, or something that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from itm_harness.datasets.demo.scenes import (
    BACKGROUNDS,
    CANVAS,
    COLOURS,
    SHAPES,
    SIZES,
    TEXTURES,
    Scene,
    SceneObject,
    boxes,
    pick,
)

REGIONS = 12
WIDTH = 64
FEATURE_NOISE = 0.22  # standard deviation of each entry of a feature; the content's is about 0.7
CODE_NOISE = 0.17  # of each entry of an object's code, the same in all its regions
MISSED, SPLIT, REPEATED, UNION = 0.05, 0.25, 0.3, 0.5  # shares of the objects, and of the relations for unions
VALUES = [
    f"{name} {value}"
    for name, values in (
        ("shape", SHAPES),
        ("colour", COLOURS),
        ("size", SIZES),
        ("texture", TEXTURES),
        ("background", BACKGROUNDS),
    )
    for value in values
]
COLUMN = {value: i for i, value in enumerate(VALUES)}
THIRDS = np.array([1 / 6, 1 / 2, 5 / 6])  # middles of the picture's thirds
PROJECTION_SEED = 2020


@dataclass(frozen=True)
class Region:
    """code: (len(VALUES),). box: (4,) x1, y1, x2, y2 in pixels."""

    code: np.ndarray
    box: np.ndarray


def region_features(scenes: Sequence[Scene], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, REGIONS, WIDTH) and boxes (n, REGIONS, 4) in pixels."""
    regions = [region for scene in scenes for region in detect(scene, rng)]
    frames = np.stack([region.box for region in regions])  # (n · REGIONS, 4)
    codes = np.hstack([np.stack([region.code for region in regions]), _places(frames)])  # (n · REGIONS, CODE)
    projection = np.random.default_rng(PROJECTION_SEED).standard_normal((codes.shape[1], WIDTH)) / np.sqrt(WIDTH / 8)
    features = codes @ projection + FEATURE_NOISE * rng.standard_normal((len(codes), WIDTH))
    return features.reshape(len(scenes), REGIONS, WIDTH), frames.reshape(len(scenes), REGIONS, 4)


def detect(scene: Scene, rng: np.random.Generator) -> list[Region]:
    """REGIONS regions in random order."""
    whole = [Region(_code(item, rng), box) for item, box in zip(scene.objects, boxes(scene), strict=True)]
    found = [part for region in whole if rng.random() >= MISSED for part in _detections(region, rng)]
    found += [_union(whole[r.subject], whole[r.object]) for r in scene.relations if rng.random() < UNION]
    found = found[:REGIONS]
    found += [_distractor(scene, rng) for _ in range(REGIONS - len(found))]
    return [found[i] for i in rng.permutation(REGIONS)]


def _code(item: SceneObject, rng: np.random.Generator) -> np.ndarray:
    code = CODE_NOISE * rng.standard_normal(len(VALUES))
    for name in ("shape", "colour", "size", "texture"):
        code[COLUMN[f"{name} {getattr(item, name)}"]] += 1
    return code


def _detections(region: Region, rng: np.random.Generator) -> Iterator[Region]:
    """The regions that a detector returns for one object: two halves, or the whole once or twice."""
    x1, y1, x2, y2 = region.box
    if rng.random() < SPLIT:
        middle = (x1 + x2) / 2
        yield Region(0.7 * region.code, np.array([x1, y1, middle, y2]))
        yield Region(0.7 * region.code, np.array([middle, y1, x2, y2]))
        return
    for _ in range(2 if rng.random() < REPEATED else 1):
        yield Region(region.code, _inside_picture(region.box + rng.uniform(-2, 2, 4)))


def _union(one: Region, two: Region) -> Region:
    return Region(
        (one.code + two.code) / 2,
        np.hstack([np.minimum(one.box[:2], two.box[:2]), np.maximum(one.box[2:], two.box[2:])]),
    )


def _distractor(scene: Scene, rng: np.random.Generator) -> Region:
    """Background, or, one time in four, weak traces of an object that is not there."""
    code = CODE_NOISE * rng.standard_normal(len(VALUES))
    code[COLUMN[f"background {scene.background}"]] += 1
    if rng.random() < 0.25:
        code[COLUMN[f"shape {pick(rng, SHAPES)}"]] += 0.5
        code[COLUMN[f"colour {pick(rng, COLOURS)}"]] += 0.5
    corner, side = rng.uniform(0, 0.7 * CANVAS, 2), rng.uniform(0.2, 0.6, 2) * CANVAS
    return Region(code, _inside_picture(np.hstack([corner, corner + side])))


def _inside_picture(box: np.ndarray) -> np.ndarray:
    return np.clip(box, 0, CANVAS)


def _places(frames: np.ndarray) -> np.ndarray:
    """(n, 6) how near the middle of each box is to each third of the picture, across and down."""
    middles = (frames[:, :2] + frames[:, 2:]) / (2 * CANVAS)  # (n, 2)
    return np.exp(-(((middles[:, :, None] - THIRDS) / 0.17) ** 2)).reshape(len(frames), -1)
