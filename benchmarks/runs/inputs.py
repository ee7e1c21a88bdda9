"""What each method, and each of its variants, reads."""

from __future__ import annotations

from itm_harness.datasets.batch import Inputs
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.registry import find_method, method_names


def inputs_by_method(dataset: str = "f30k") -> dict[str, Inputs]:
    """What each method, and each of its variants, reads with its own recipe for a data set.

    An ensemble reads what its members read; its text and pixels are those of the first member that has any.
    """
    found = {}
    for name in method_names():
        kind = find_method(name).description
        for variant in kind.variants or (None,):
            label = name if variant in (None, *kind.variants[:1]) else f"{name} {variant}"
            members = kind.ensembles.get(variant, (variant,))
            found[label] = _together([_inputs(name, member, dataset) for member in members])
    return found


def _inputs(method: str, variant: str | None, dataset: str) -> Inputs:
    entry = find_method(method, variant)
    return entry.description.bare(resolve_entry(entry, dataset, variant).config).inputs()


def _together(members: list[Inputs]) -> Inputs:
    return Inputs(
        regions=any(inputs.regions for inputs in members),
        text=next((inputs.text for inputs in members if inputs.text), None),
        image_sidecars=tuple(dict.fromkeys(name for inputs in members for name in inputs.image_sidecars)),
        text_sidecars=tuple(dict.fromkeys(name for inputs in members for name in inputs.text_sidecars)),
        pixels=next((inputs.pixels for inputs in members if inputs.pixels), None),
    )
