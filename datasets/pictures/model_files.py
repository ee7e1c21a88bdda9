"""Folders of models: where they are looked for, what is in them, which revision they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from itm_harness.datasets.errors import DataError

PATTERNS = ["*.json", "*.txt", "*.model", "*.jinja"]  # what a model of the hub consists of beside its weights
WEIGHTS = (".safetensors", ".bin")  # the one that can hold no code first; of the other only tensors are read
METADATA = Path(".cache/huggingface/download/config.json.metadata")  # beside files that `hf download --local-dir` wrote
COMMIT_DIGITS = 40
PATIENCE = 10  # seconds, until a hub counts as out of reach
LONGEST = 150  # characters of a reason


@dataclass(frozen=True)
class Models:
    """The places of models: a folder itself, `root`/its last name, the hub's cache. root: the data root."""

    root: Path

    def folder(self, name: str) -> Path | None:
        """The folder of a model, None where it is not on this machine."""
        if Path(name).is_dir():
            return Path(name)
        beside = self.root / Path(name).name
        return beside if beside.is_dir() else cached_folder(name)

    def where(self, name: str) -> str:
        """Where to put a model that is missing, for a sentence."""
        return f"at {self.root / Path(name).name}"

    def require(self, name: str, what: str, size: str, option: str, instead: str = "") -> Path:
        """The folder of a model, downloaded where the hub can be reached.

        Raises DataError with what it is, its size, where to put it, and what does without it.
        """
        found = self.folder(name)
        if found is not None:
            return found
        try:
            return _downloaded(name)
        except Exception as error:  # the hub's library went from one HTTP client to another, twice: any error of theirs
            reason = " ".join(str(error).split())[:LONGEST]
            more = f"; {instead}" if instead else ""
            raise DataError(
                f"{what} '{name}' ({size}) is neither a folder nor in the hub's cache, and cannot be downloaded "
                f"({reason}); get it on a machine with a network (hf download {name} --local-dir FOLDER), put its "
                f"files {self.where(name)}, or name their folder with {option} FOLDER{more}."
            ) from error


def revision(folder: Path) -> str:
    """The model's commit in its hub, "" where the folder does not tell it."""
    if folder.parent.name == "snapshots":
        return folder.name
    try:
        commit = (folder / METADATA).read_text(encoding="utf-8").split("\n")[0].strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return commit if len(commit) == COMMIT_DIGITS else ""


def cached_revision(repository: str, files: Collection[str]) -> str:
    """The commit in the hub's cache of the first of `files` that lies there, "" where none does."""
    found = (cached_file(repository, name) for name in files)
    return next((revision(path.parent) for path in found if path is not None), "")


@contextmanager
def within_reach(repository: str, files: Collection[str]) -> Iterator[None]:
    """Within it the hub's client gives up at once where none of `files` is in its cache and the hub is out of reach.

    By itself it would ask for half a minute, and print that it does. repository: "" where there is none to ask.
    """
    from huggingface_hub import HfApi, constants  # heavy

    before = constants.HF_HUB_OFFLINE
    if repository and not cached_revision(repository, files):
        try:
            HfApi().model_info(repository, timeout=PATIENCE)
        except Exception:  # as in `require`
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


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


def cached_folder(name: str) -> Path | None:
    """A model's folder in the hub's cache, None where it is not there, or not all of its weights are."""
    configuration = cached_file(name, "config.json")
    if configuration is None or not _has_weights(configuration.parent):
        return None
    return configuration.parent


def cached_file(repository: str, name: str) -> Path | None:
    """A file of a repository in the hub's cache, None where it is not there."""
    from huggingface_hub import try_to_load_from_cache  # heavy

    try:
        found = try_to_load_from_cache(repository, name)
    except ValueError:  # a path, no name of the hub
        return None
    return Path(found) if isinstance(found, str) else None


def _has_weights(folder: Path) -> bool:
    """Are the weights there, of those in several files every one? A download that was stopped leaves some."""
    shards = {folder / name for index in folder.glob("*.index.json") for name in _shards(index)}
    found = {path for suffix in WEIGHTS for path in folder.glob(f"*{suffix}")}
    return all(path.is_file() for path in shards or found) and bool(found)


def _shards(index: Path) -> set[str]:
    """The files that an index of weights names."""
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {index.name}  # damaged: transformers says so


def _downloaded(name: str) -> Path:
    """A model's folder in the hub's cache, filled from the network. Raises whatever the hub's client does."""
    from huggingface_hub import HfApi, snapshot_download

    # One question with an end: without a network, snapshot_download itself asks for a minute and prints that it does.
    files = [file.rfilename for file in HfApi().model_info(name, timeout=PATIENCE).siblings]
    suffix = next((suffix for suffix in WEIGHTS if any(file.endswith(suffix) for file in files)), WEIGHTS[0])
    return Path(snapshot_download(name, allow_patterns=[*PATTERNS, f"*{suffix}"]))
