"""Folders of models: where they are looked for, what is in them, which revision they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from datasets.errors import DataError

PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]  # what a model of the hub consists of
METADATA = Path(".cache/huggingface/download/config.json.metadata")  # beside files that `hf download --local-dir` wrote
COMMIT_DIGITS = 40


@dataclass(frozen=True)
class Models:
    """The places of models: a folder itself, `root`/its last name, the hub's cache. root: the data root."""

    root: Path

    def folder(self, name: str) -> Path | None:
        """The folder of a model, None where it is not on this machine."""
        if Path(name).is_dir():
            return Path(name)
        beside = self.root / Path(name).name
        return beside if beside.is_dir() else _cached(name)

    def where(self, name: str) -> str:
        """Where to put a model that is missing, for a sentence."""
        return f"at {self.root / Path(name).name}"

    def require(self, name: str, what: str, size: str, option: str, instead: str = "") -> Path:
        """The folder of a model, downloaded where the hub can be reached.

        Raises DataError with what it is, its size, where to put it, and what does without it.
        """
        found = self.folder(name) or _downloaded(name)
        if found is None:
            raise DataError(
                f"{what} '{name}' ({size}) is neither a folder nor in the hub's cache, and cannot be downloaded; "
                f"get it on a machine with a network (hf download {name} --local-dir FOLDER), put its files "
                f"{self.where(name)}, or name their folder with {option} FOLDER{f'; {instead}' if instead else ''}."
            )
        return found


def revision(folder: Path) -> str:
    """The model's commit in its hub, "" where the folder does not tell it."""
    if folder.parent.name == "snapshots":
        return folder.name
    try:
        commit = (folder / METADATA).read_text(encoding="utf-8").split("\n")[0].strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return commit if len(commit) == COMMIT_DIGITS else ""


def files_print(folder: Path) -> str:
    """Fingerprint of all files of a folder, hidden ones left out: names and contents."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in name.parts):
            digest.update(f"{name.as_posix()} {path.stat().st_size} ".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _cached(name: str) -> Path | None:
    """A model's folder in the hub's cache, None where it is not there."""
    from huggingface_hub import try_to_load_from_cache  # heavy

    try:
        found = try_to_load_from_cache(name, "config.json")
    except ValueError:  # a path, no name of the hub
        return None
    return Path(found).parent if isinstance(found, str) else None


def _downloaded(name: str) -> Path | None:
    """A model's folder in the hub's cache, filled from the network; None where that cannot be reached."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=PATTERNS))
    except (OSError, ValueError):
        return None
