"""Scenes as pictures: flat shapes with a texture and an outline, drawn at twice the size and halved."""

from __future__ import annotations

from functools import lru_cache
from math import cos, pi, sin

from PIL import Image, ImageDraw

from itm_harness.datasets.demo.scenes import CANVAS, Scene, SceneObject, boxes

SCALE = 2  # drawing at twice the size and halving it smooths the edges
Colour = tuple[int, int, int]
Point = tuple[float, float]

FILLS: dict[str, Colour] = {
    "red": (214, 40, 40),
    "blue": (38, 84, 200),
    "green": (44, 150, 66),
    "yellow": (246, 212, 48),
    "purple": (130, 60, 170),
    "orange": (244, 136, 32),
    "white": (250, 250, 250),
    "black": (24, 24, 24),
}
BACKDROPS: dict[str, Colour] = {
    "grey": (150, 152, 156),
    "beige": (214, 190, 150),
    "dark": (62, 66, 78),
    "pale": (228, 236, 240),
}
OUTLINE: Colour = (90, 90, 90)


def draw(scene: Scene) -> Image.Image:
    """The picture of a scene, CANVAS × CANVAS RGB. Small objects are drawn last: they lie inside others."""
    picture = Image.new("RGB", (CANVAS * SCALE, CANVAS * SCALE), BACKDROPS[scene.background])
    placed = sorted(zip(scene.objects, boxes(scene), strict=True), key=lambda pair: pair[1][0] - pair[1][2])
    for item, box in placed:
        x, y, right, _ = (round(v * SCALE) for v in box)
        side = right - x
        picture.paste(OUTLINE, (x - 1, y - 1), _mask(item.shape, side + 2))
        picture.paste(_fill(item, side), (x, y), _mask(item.shape, side))
    return picture.reduce(SCALE)


@lru_cache(maxsize=256)
def _fill_of(colour: str, texture: str, side: int) -> Image.Image:
    second = FILLS["black"] if colour == "white" else tuple(v // 2 if colour != "black" else 150 for v in FILLS[colour])
    tile = Image.new("RGB", (side, side), FILLS[colour])
    pen = ImageDraw.Draw(tile)
    if texture == "striped":
        for x in range(0, side, 10):
            pen.rectangle((x, 0, x + 3, side), fill=second)
    if texture in ("dotted", "checked"):
        spot = pen.ellipse if texture == "dotted" else pen.rectangle
        for row in range(side // 6 + 1):
            for column in range(row % 2, side // 6 + 1, 2):
                spot((column * 6, row * 6, column * 6 + 5, row * 6 + 5), fill=second)
    return tile


def _fill(item: SceneObject, side: int) -> Image.Image:
    return _fill_of(item.colour, item.texture, side)


@lru_cache(maxsize=256)
def _mask(shape: str, side: int) -> Image.Image:
    """Where a shape of the given side is, as an 8-bit mask."""
    mask = Image.new("L", (side, side), 0)
    pen, end = ImageDraw.Draw(mask), side - 1
    if shape in ("circle", "ring"):
        pen.ellipse((0, 0, end, end), fill=255)
        if shape == "ring":
            rim = side / 5
            pen.ellipse((rim, rim, end - rim, end - rim), fill=0)
    elif shape == "square":
        pen.rectangle((0, 0, end, end), fill=255)
    else:
        pen.polygon([(x * end, y * end) for x, y in _outline(shape)], fill=255)
    return mask


def _outline(shape: str) -> list[Point]:
    """Corners of a polygon in the unit square."""
    if shape == "triangle":
        return [(0.5, 0), (1, 1), (0, 1)]
    if shape == "diamond":
        return [(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)]
    if shape == "cross":
        a, b = 0.33, 0.67
        return [(a, 0), (b, 0), (b, a), (1, a), (1, b), (b, b), (b, 1), (a, 1), (a, b), (0, b), (0, a), (a, a)]
    if shape == "star":
        radii = [0.5 if i % 2 == 0 else 0.22 for i in range(10)]
        return [(0.5 + r * sin(pi * i / 5), 0.5 - r * cos(pi * i / 5)) for i, r in enumerate(radii)]
    return [_heart(2 * pi * i / 40) for i in range(40)]


def _heart(t: float) -> Point:
    """A point of the heart curve x = 16 sin³ t, y = 13 cos t − 5 cos 2t − 2 cos 3t − cos 4t, in the unit square."""
    y = 13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)
    return 0.5 + sin(t) ** 3 / 2, (12 - y) / 29
