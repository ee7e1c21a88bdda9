"""Names of backbones and of their weights, and how tables show them."""

from __future__ import annotations

from pathlib import Path

PRETRAINED = "pretrained"  # weights: timm's own, or the published ones
TIMM, OPEN_CLIP = "timm:", "open_clip:"


def label(name: str | None, weights: str | None) -> str:
    """A backbone as tables show it."""
    if weights is None:
        return f"{name}, no pretrained weights"
    return f"{name}" if weights == PRETRAINED else f"{name}, {Path(weights).name}"
