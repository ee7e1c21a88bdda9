"""The files that a run reads: what is missing and what could run without it, what made those that are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from itm_harness.benchmarks.runs.inputs import inputs_by_method
from itm_harness.datasets.batch import Inputs
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import Manifest, read_manifest
from itm_harness.datasets.precomp import Dataset
from itm_harness.datasets.sidecars import find_sidecar
from itm_harness.datasets.split import Split

SUPPLIED, SIMULATED = "as supplied", "simulated"
REGIONS = "regions"
RELEASED_BY = "bge-large-en-v1.5"  # made the sentence vectors that VSD and VSSR released, which no manifest describes
MADE_BY = {  # part of a file's name -> the --what that makes such files; of all others: sentences
    "_clip_": "clip", "_ims": REGIONS, "_entities": "graphs", "_relation": "graphs",
    "_dependencies": "dependencies", "_caps.json": "dependencies",
}  # fmt: skip


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


@dataclass(frozen=True)
class _Read:
    """A file that a run reads. name: its sidecar, or regions. maker: encoder, pooling, state; None = not known."""

    name: str
    path: Path
    manifest: Manifest | None

    @property
    def maker(self) -> tuple[str, str, str] | None:
        made = self.manifest
        return (made.encoder, made.pooling, made.state) if made else None


def require_one_encoder(dataset: Dataset, inputs: Inputs, splits: Sequence[str]) -> None:
    """Raises DataError where splits have regions, or vectors of a sidecar, of two makers; and where an encoder's name
    stands for two (of sidecars that are compared: CLIP's pictures and texts, say).
    """
    groups: dict[tuple[str, ...], list[_Read]] = {}
    for file in _files_read(dataset, inputs, splits):
        encoder = [file.maker[:2]] if file.maker else []
        for group in [(file.name,), *encoder]:
            groups.setdefault(group, []).append(file)
    for files in groups.values():
        for one, other in combinations(files, 2):
            if one.maker != other.maker and not _may_fill_in(dataset, one, other):
                raise DataError(_two_makers(dataset, one, other))


def _files_read(dataset: Dataset, inputs: Inputs, splits: Sequence[str]) -> Iterator[_Read]:
    for split in splits:
        if inputs.regions:
            path = dataset.features_path(split)
            yield _Read(REGIONS, path, read_manifest(path))
        for name in (*inputs.image_sidecars, *inputs.text_sidecars):
            path = find_sidecar(dataset.spec, name, dataset.folder, split)
            yield _Read(name, path, read_manifest(path))


def _may_fill_in(dataset: Dataset, one: _Read, other: _Read) -> bool:
    """May a prepared file stand beside a released one? Where one model made both, or where nothing is compared."""
    made = one.manifest or other.manifest
    if made is None or (one.manifest and other.manifest) or one.name == REGIONS:
        return False
    return made.encoder == RELEASED_BY or dataset.spec.sidecar(one.name).kind == "pairs"


def _two_makers(dataset: Dataset, one: _Read, other: _Read) -> str:
    what = next((what for part, what in MADE_BY.items() if part in one.path.name), "sentences")
    makers = [file.manifest.label if file.manifest else "not made by prepare" for file in (one, other)]
    if makers[0] == makers[1]:
        makers = [f"{maker}, state {file.manifest.state[:8]}" for maker, file in zip(makers, (one, other), strict=True)]
    return (
        f"{dataset.folder}: {one.path.name} and {other.path.name} are not of one encoder ({makers[0]}; {makers[1]}), "
        f"so they do not compare; move away those of the one that is not wanted, and make all that are missing with "
        f"the same options: itm prepare --dataset {dataset.spec.name} --what {what}."
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
