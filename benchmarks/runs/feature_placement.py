"""Where the region features of a run lie while it trains: on the device, in host memory, or in the mapped files.

The place changes no number: the same features are gathered from each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.free_memory import free_memory
from itm_harness.benchmarks.runs.job import Place
from itm_harness.datasets.regions import HeldRegions
from itm_harness.datasets.split import Split

SHARE = 0.5  # of the free memory that features may take: model, activations and the system need the rest


@dataclass(frozen=True)
class Choice:
    """A place, and one line about it."""

    place: Place
    line: str


def place_features(splits: Sequence[Split], asked: str, device: torch.device, processes: int = 1) -> str | None:
    """Bring the features of the splits where they are asked for. Returns a line that says where and why.

    None where there is nothing to do: no features are read, or they have been brought there before. processes: each
    holds its own. Raises RunError where they do not fit, DataError where a feature is not finite.
    """
    if any(split.regions is None or isinstance(split.regions, HeldRegions) for split in splits):
        return None
    choice = choose(asked, sum(_bytes(split) for split in splits), device, processes)
    if choice.place != "map":
        where = device if choice.place == "device" else torch.device("cpu")
        for split in splits:
            split.hold_regions(where)
    return choice.line


def choose(asked: str, size: int, device: torch.device, processes: int = 1) -> Choice:
    """The place for `size` bytes of features. asked: device, host, map or auto. Raises RunError where it cannot be."""
    if asked == "map" or (asked == "auto" and device.type == "cpu"):
        why = "as asked" if asked == "map" else "on a CPU the system keeps what is read often"
        return Choice("map", f"features: {_shown(size)}, memory-mapped ({why})")
    room = {"device": _room(device, processes), "host": _room(torch.device("cpu"), processes)}
    places: list[Place] = ["device", "host"] if asked == "auto" else [asked]
    for place in places:
        if size <= room[place]:
            return Choice(place, f"features: {_shown(size)}, {_named(place, device)}, of {_told(room)}")
    if asked == "auto":
        return Choice("map", f"features: {_shown(size)}, memory-mapped, more than {_told(room)}")
    raise RunError(
        f"--features {asked}: the features of this run take {size / 1e9:.1f} GB, and {room[asked] / 1e9:.1f} GB can be "
        f"spared there; use --precision bf16 (half the size of float32), or --features auto."
    )


def _bytes(split: Split) -> int:
    per_image = split.regions.array[0].size if len(split.regions.array) else 0
    return split.n_images * per_image * split.regions.dtype.itemsize


def _room(device: torch.device, processes: int) -> int:
    """Bytes that features may take there; the memory of the host is for all processes together."""
    return int(SHARE * free_memory(device)) // (processes if device.type == "cpu" else 1)


def _shown(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _named(place: Place, device: torch.device) -> str:
    return f"on {device}" if place == "device" else "in host memory"


def _told(room: dict[str, int]) -> str:
    return " and ".join(f"{size / 1e9:.1f} GB that may be used of the {place}" for place, size in room.items())
