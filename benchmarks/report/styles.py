"""How a leaderboard row looks in every chart: a colour and a shape for its method, dashes for its variant.

Colours alone tell nothing: the shape says the same. The palette follows Okabe and Ito (2008), which
colour-blind readers can tell apart; the style sheet defines it for light and for dark backgrounds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from itm_harness.benchmarks.leaderboard.rows import Row

COLOURS = tuple(f"var(--hue-{i})" for i in range(1, 8))
SHAPES = (  # outlines in the square from -1 to 1, for the charts and for the keys beside names
    "M.9,0A.9,.9,0,1,1,-.9,0A.9,.9,0,1,1,.9,0Z",  # circle
    "M-.8,-.8L.8,-.8L.8,.8L-.8,.8Z",  # square
    "M0,-1L1,.75L-1,.75Z",  # triangle
    "M0,-1.1L.95,0L0,1.1L-.95,0Z",  # diamond
    "M-.33,-1L.33,-1L.33,-.33L1,-.33L1,.33L.33,.33L.33,1L-.33,1L-.33,.33L-1,.33L-1,-.33L-.33,-.33Z",  # cross
    "M0,1L1,-.75L-1,-.75Z",  # triangle, upside down
    "M0,-1.1L.26,-.36L1.05,-.34L.42,.14L.65,.89L0,.44L-.65,.89L-.42,.14L-1.05,-.34L-.26,-.36Z",  # star
)
DASHES = ([1, 0], [6, 3], [2, 3], [9, 3, 2, 3], [4, 2, 1, 2, 1, 2])


@dataclass(frozen=True)
class Style:
    """colour: a CSS value. shape: the path of an outline. dash: of lines, lengths on and off."""

    colour: str
    shape: str
    dash: list[int]


def key_of(row: Row) -> str:
    """What names a row on the page, the same on every benchmark and in every version of the page."""
    return row.first.group_key[:12]


def styles_of(rows: Iterable[Row]) -> dict[str, Style]:
    """A style per row, by its key: methods by name, the rows of a method by variant and overrides."""
    by_method = defaultdict(dict)
    for row in rows:
        by_method[row.first.method][key_of(row)] = (row.first.variant, row.label, row.first.group_key)
    found = {}
    for number, method in enumerate(sorted(by_method)):
        colour, shape = COLOURS[number % len(COLOURS)], SHAPES[(number + number // len(COLOURS)) % len(SHAPES)]
        ordered = sorted(by_method[method], key=by_method[method].__getitem__)
        found |= {key: Style(colour, shape, DASHES[i % len(DASHES)]) for i, key in enumerate(ordered)}
    return found
