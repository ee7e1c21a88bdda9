"""What the harness knows: methods, data sets, benchmarks."""

from __future__ import annotations

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.datasets.spec import dataset_names, find_spec, nearest
from itm_harness.methods.registry import find_method, method_names

Listing = tuple[tuple[str, ...], list[tuple[str, ...]]]


def listing(what: str) -> Listing:
    """Columns and rows of `list methods|datasets|benchmarks`. Raises RunError on another word."""
    kinds = {"methods": _methods, "datasets": _datasets, "benchmarks": _benchmarks}
    if what not in kinds:
        raise RunError(f"list {what}: unknown{nearest(what, list(kinds))}; list one of {', '.join(kinds)}.")
    return kinds[what]()


def _methods() -> Listing:
    entries = [find_method(name) for name in method_names()]
    return ("method", "variants", "what it is"), [
        (e.name, ", ".join(e.method.variants), _first_sentence(e.file.read_text(encoding="utf-8"))) for e in entries
    ]


def _first_sentence(source: str) -> str:
    return source.removeprefix('"""').split("\n", 1)[0].removesuffix('"""')


def _datasets() -> Listing:
    specs = [find_spec(name) for name in dataset_names()]
    return ("data set", "title", "image features", "benchmarks"), [
        (s.name, s.title, s.features, ", ".join(b.name for b in s.benchmarks)) for s in specs
    ]


def _benchmarks() -> Listing:
    specs = [find_spec(name) for name in dataset_names()]
    return ("benchmark", "data set", "test images", "folds"), [
        (b.name, s.name, str(b.images or "all"), str(b.folds)) for s in specs for b in s.benchmarks
    ]
