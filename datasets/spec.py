"""What a data set is: its splits, benchmarks and sidecar files, one YAML file each; a user's own in the same form."""

from __future__ import annotations

import difflib
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from itm_harness.datasets.errors import DataError

FOLDER = Path(__file__).parent
EVERY_SPLIT = "*"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]  # becomes a part of file names


def _below_the_folder(pattern: str) -> str:
    """A sidecar's files stay below the precomp folder. Raises ValueError where a pattern leads elsewhere."""
    parts = PurePosixPath(pattern).parts
    if not parts or pattern.startswith("/") or ".." in parts or "**" in pattern or not pattern.isprintable():
        raise ValueError("a file name below the precomp folder is wanted, without .. and **")
    return pattern


Pattern = Annotated[str, AfterValidator(_below_the_folder)]


class Spec(BaseModel):
    """A part of a data set's description: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BenchmarkSpec(Spec):
    """A task on the test split. images: how many it has in all, None = whatever the split holds.

    folds: consecutive equal parts, averaged.
    """

    name: Name
    images: int | None = Field(None, ge=1)
    folds: int = Field(1, ge=1)
    title: str = ""


class SidecarSpec(Spec):
    """An optional file per split beside the features.

    side, rows: whom it describes, and what a row of the file stands for (descriptions: images, one row per caption).
    files: patterns below the precomp folder, the first that exists is read; {split} is the split's name in file names,
    and * may stand for one unknown part. A mapping gives patterns per split (train, dev, test; * = every other).
    kind: array = .npy with one row each; boxes = corners x1, y1, x2, y2 of the regions, divided by the picture's size
    on load; sizes = .npy with image_w and image_h; pairs = JSON, a list of [head, dependent] per caption.
    made_by: how a user gets the file. note: widths and the like.
    """

    side: Literal["image", "text"]
    rows: Literal["image", "caption"]
    files: tuple[Pattern, ...] | dict[str, tuple[Pattern, ...]]
    kind: Literal["array", "boxes", "sizes", "pairs"] = "array"
    what: str
    made_by: str
    note: str = ""

    def patterns(self, split: str, file_split: str) -> list[str]:
        """The file names to try for a split, {split} replaced."""
        files = self.files
        if isinstance(files, dict):
            files = files.get(split) or files.get(EVERY_SPLIT, ())
        return [pattern.replace("{split}", file_split) for pattern in files]


class DatasetSpec(Spec):
    """A data set in the SCAN layout.

    features: what the region features are, as tables show it. splits: split -> its name in file names.
    dev_images: only the first so many images of dev are used (None: all).
    captions_per_image: used where no ids file says it. where: how to get the data. simulated: made-up sidecars.
    folder: the precomp folder, relative to the data root or to the user's YAML; None = the usual places.
    images: the folder of the pictures, relative to the data root or to the user's YAML; None = images/ beside
    id_mapping.json. picture_size: width and height of every picture, for boxes in pixels without a file of sizes.
    generated: made on first use into a cache folder.
    """

    name: Name
    title: str = ""
    features: str = "region"
    splits: dict[Literal["train", "dev", "test"], Name] = {"train": "train", "dev": "dev", "test": "test"}
    dev_images: int | None = Field(1000, ge=1)
    captions_per_image: int = Field(5, ge=1)
    benchmarks: list[BenchmarkSpec] = Field(min_length=1)
    sidecars: dict[str, SidecarSpec] = {}
    where: str = ""
    simulated: list[str] = []
    folder: str | None = None
    images: str | None = None
    picture_size: tuple[int, int] | None = None
    generated: bool = False

    def file_split(self, split: str) -> str:
        """The split's name in file names (coco's test is `testall`). Raises DataError on an unknown split."""
        if split not in self.splits:
            known = ", ".join(self.splits)
            raise DataError(f"data set {self.name} has no split '{split}'{nearest(split, list(self.splits))}: {known}.")
        return self.splits[split]

    def sidecar(self, name: str) -> SidecarSpec:
        """The declaration of a sidecar. Raises DataError where the data set declares none of that name."""
        if name not in self.sidecars:
            known = ", ".join(self.sidecars) or "none"
            raise DataError(
                f"data set {self.name} declares no sidecar '{name}'{nearest(name, list(self.sidecars))} (it has: "
                f"{known}); declare its files under 'sidecars' in a YAML of your own: --dataset path/to/data.yaml."
            )
        return self.sidecars[name]


def dataset_names() -> list[str]:
    """The shipped data sets. Files that begin with _ are bases that others extend."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.stem.startswith("_"))


def find_spec(name_or_yaml: str) -> DatasetSpec:
    """A shipped data set by its name, or a user's by the path of its YAML.

    Raises DataError where there is none, with the nearest name, or where the YAML is not valid, with the key.
    """
    if name_or_yaml.endswith((".yaml", ".yml")):
        return _load(Path(name_or_yaml).absolute())
    if name_or_yaml not in dataset_names():
        raise DataError(
            f"unknown data set '{name_or_yaml}'{nearest(name_or_yaml, dataset_names())}; "
            f"known: {', '.join(dataset_names())}; one of your own is named by its file: --dataset path/to/data.yaml."
        )
    return _load(FOLDER / f"{name_or_yaml}.yaml")


def nearest(word: str, known: list[str]) -> str:
    """' (did you mean 'X'?)' where something known is close to `word`, else ''."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _load(path: Path) -> DatasetSpec:
    content = _with_base(_read_yaml(path), path)
    for place in ("folder", "images"):
        if path.parent != FOLDER and isinstance(content.get(place), str):
            content[place] = str(path.parent / content[place])
    try:
        return DatasetSpec(**content)
    except ValidationError as error:
        raise DataError(f"{path}: {_first_fault(error, content)}.") from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.parent != FOLDER and any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise DataError(
                f"data set file {path} uses YAML aliases (*name), with which a small file can grow without bound; "
                f"write the values out."
            )
        content = yaml.safe_load(text)
    except FileNotFoundError as error:
        raise DataError(f"data set file {path} does not exist; give the path of a YAML file.") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: a date such as 2026-99-99
        reason = " ".join(str(error).split())
        raise DataError(f"data set file {path} cannot be read as YAML: {reason}.") from error
    if not isinstance(content, dict):
        raise DataError(f"data set file {path} holds no mapping; it needs at least 'name' and 'benchmarks'.")
    return content


def _with_base(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """`extends: scan` (or a data set's name) brings that description along; sidecars are merged by name."""
    base = content.pop("extends", None)
    if base is None:
        return content
    files = {p.stem.removeprefix("_"): p for p in FOLDER.glob("*.yaml")}
    if str(base) not in files:
        known = ", ".join(sorted(files))
        raise DataError(f"{path}: extends: {base} is unknown{nearest(str(base), list(files))}; known: {known}.")
    inherited = _with_base(_read_yaml(files[base]), files[base])
    added = content.get("sidecars") or {}
    if not isinstance(added, dict):
        raise DataError(f"{path}: sidecars is a mapping of names to their files, not a {type(added).__name__}.")
    sidecars = {**inherited.get("sidecars", {}), **added}
    return {**inherited, **content, "sidecars": sidecars}


def _first_fault(error: ValidationError, content: dict[str, Any]) -> str:
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = SidecarSpec.model_fields if "sidecars" in fault["loc"] else DatasetSpec.model_fields
        known = BenchmarkSpec.model_fields if "benchmarks" in fault["loc"] else known
        return f"unknown key '{key}'{nearest(str(fault['loc'][-1]), list(known))}"
    if fault["type"] == "missing":
        example = "; for example benchmarks: [{name: mine-1k, images: 1000}]" if key == "benchmarks" else ""
        return f"'{key}' is missing{example}"
    return f"{key} = {fault['input']!r} is not valid: {fault['msg']}"
