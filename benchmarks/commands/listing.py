"""What the harness knows: methods, data sets, benchmarks."""

from __future__ import annotations

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.datasets.spec import dataset_names, find_spec, nearest
from itm_harness.methods.registry import find_method, method_names

Listing = list[dict[str, str | int | list[str]]]


def listing(what: str) -> Listing:
    """What `list methods|datasets|benchmarks` knows, all with the same keys. Raises RunError on another word."""
    kinds = {"methods": _methods, "datasets": _datasets, "benchmarks": _benchmarks}
    if what not in kinds:
        raise RunError(f"list {what}: unknown{nearest(what, list(kinds))}; list one of {', '.join(kinds)}.")
    return kinds[what]()


def _methods() -> Listing:
    entries = [find_method(name) for name in method_names()]
    return [
        {
            "method": e.name,
            "variants": list(e.description.variants),
            "what it is": _first_sentence(e.file.read_text(encoding="utf-8")),
        }
        for e in entries
    ]


def _first_sentence(source: str) -> str:
    return source.removeprefix('"""').split("\n", 1)[0].removesuffix('"""')


def _datasets() -> Listing:
    specs = [find_spec(name) for name in dataset_names()]
    return [
        {
            "data set": s.name,
            "title": s.title,
            "image features": s.features,
            "benchmarks": [b.name for b in s.benchmarks],
        }
        for s in specs
    ]


def _benchmarks() -> Listing:
    specs = [find_spec(name) for name in dataset_names()]
    return [
        {"benchmark": b.name, "data set": s.name, "test images": b.images or "all", "folds": b.folds}
        for s in specs
        for b in s.benchmarks
    ]
