"""The text files that vectors are made of: where they lie, and what is in them."""

from __future__ import annotations

from pathlib import Path

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import read_manifest
from itm_harness.datasets.precomp import Dataset
from itm_harness.datasets.text.captions import Layout, read_lines

# VSD's two sets of descriptions: star, dagger
DESCRIPTIONS = {"descriptions": "{split}_descriptions.txt", "descriptions_dagger": "{split}_descriptions_dagger.txt"}
GRAPHS = "{split}_graphs.json"


def descriptions_path(dataset: Dataset, name: str, split: str) -> Path:
    """The texts of a set of descriptions: descriptions (VSD's star), descriptions_dagger."""
    return dataset.folder / DESCRIPTIONS[name].replace("{split}", dataset.spec.file_split(split))


def read_descriptions(path: Path, layout: Layout) -> list[str]:
    """One line per image or per caption. Raises DataError where the count does not fit."""
    lines = read_lines(path)
    if layout.image_rows(len(lines)) is None:
        raise DataError(
            f"{path} holds {len(lines):,} lines, but the split has {layout.n_images:,} images and {layout.n_texts:,} "
            f"captions; write one description a line, for every image or every caption."
        )
    return lines


def training_texts(dataset: Dataset) -> list[str]:
    """Captions, and whatever descriptions there are."""
    layout = dataset.layout("train")
    paths = [descriptions_path(dataset, name, "train") for name in DESCRIPTIONS]
    return [*layout.captions, *(text for path in paths if path.exists() for text in read_descriptions(path, layout))]


def origin(path: Path) -> str:
    """What made a text file, "" where no manifest says it."""
    manifest = read_manifest(path)
    return manifest.label if manifest else ""
