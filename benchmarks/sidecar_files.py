"""The sidecar files of a run: what is missing and what could run without it, what made those that are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.listing import inputs_by_method
from datasets.batch import Inputs
from datasets.errors import DataError
from datasets.manifest import read_manifest
from datasets.precomp import Dataset, Split
from datasets.sidecars import find_sidecar

SUPPLIED, SIMULATED = "as supplied", "simulated"


def missing_files(dataset: Dataset, inputs: Inputs, splits: Sequence[str]) -> list[str]:
    """A sentence per file that is not there, then what could be done without it; empty where nothing is missing."""
    missing = dataset.missing(inputs, splits)
    if not missing:
        return []
    without_dev = [split for split in splits if split != "dev"]
    if len(without_dev) < len(splits) and not dataset.missing(inputs, without_dev):
        missing.append("Only dev is incomplete: --set train.select=last does without it and tests the last epoch.")
    able = ", ".join(_able(dataset, splits)) or "none"
    return [*missing, f"With the files that are there, these run on {dataset.spec.name}: {able}."]


def _able(dataset: Dataset, splits: Sequence[str]) -> list[str]:
    """Methods of which every variant finds its files, by name; of others the variants that do."""
    able: dict[str, list[str]] = {}
    unable = set()
    for label, inputs in inputs_by_method(dataset.spec.name).items():
        method = label.split()[0]
        if _all_there(dataset, inputs, splits):
            able.setdefault(method, []).append(label)
        else:
            unable.add(method)
    return [name for method, labels in able.items() for name in (labels if method in unable else [method])]


def _all_there(dataset: Dataset, inputs: Inputs, splits: Sequence[str]) -> bool:
    try:
        return not dataset.missing(inputs, splits)
    except DataError:  # a sidecar that the data set does not declare
        return False


def require_one_encoder(dataset: Dataset, inputs: Inputs, splits: Sequence[str]) -> None:
    """Raises DataError where vectors of a fitted encoder would be compared with others than its own."""
    seen: dict[tuple[str, str], dict[tuple[str, str] | None, str]] = {}  # of each sidecar and encoder: state -> a file
    for name in (*inputs.image_sidecars, *inputs.text_sidecars):
        for split in splits:
            path = find_sidecar(dataset.spec, name, dataset.folder, split)
            manifest = read_manifest(path)
            fitted = (manifest.encoder, manifest.state) if manifest and manifest.fitted else None
            for group in [("sidecar", name)] + ([("encoder", fitted[0])] if fitted else []):
                files = seen.setdefault(group, {})
                files.setdefault(fitted, path.name)
                if len(files) > 1:
                    raise DataError(_two_encoders(dataset, *files.values()))


def _two_encoders(dataset: Dataset, one: str, other: str) -> str:
    what = " --what clip" if "_clip_" in one else ""
    return (
        f"{dataset.folder}: {one} and {other} are not of one encoder, fitted once, so their vectors do not compare; "
        f"remove the one that is not wanted, and make the splits that are missing together: "
        f"python harness.py prepare --dataset {dataset.spec.name}{what}."
    )


def sidecar_sources(splits: Iterable[Split]) -> dict[str, str]:
    """Sidecar that was read -> what made it: an encoder's name, `simulated`, or `as supplied`."""
    found: dict[str, set[str]] = {}
    for split in splits:
        for name, sidecar in split.sidecars.items():
            manifest = read_manifest(sidecar.path)
            supplied = SIMULATED if name in split.dataset.spec.simulated else SUPPLIED
            found.setdefault(name, set()).add(manifest.label if manifest else supplied)
    return {name: ", ".join(sorted(labels)) for name, labels in sorted(found.items())}
