"""Text files that are written whole from a source, each with a manifest that says from which."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from itm_harness.benchmarks.common.atomic import discard, write_whole
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.datasets.files.manifest import Manifest, manifest_path, read_manifest


@dataclass(frozen=True)
class TextFile:
    """A file to write. items: its lines, or entries."""

    path: Path
    text: str
    items: int


def refuse_foreign(path: Path, force: bool) -> None:
    """Raises RunError where a file is in the way that this command did not make."""
    if path.exists() and not force and read_manifest(path) is None:
        raise RunError(
            f"{path} is there, and no manifest beside it says that this command made it; "
            f"move it away, or replace it with --force."
        )


def write_text(text: TextFile, maker: str, sources: Sequence[str], say: Callable[[str], None]) -> bool:
    """Write a file, unless it is there. maker: what makes it, as its manifest says. Was it written?

    At no moment a manifest stands beside another file than its own.
    """
    path, content = text.path, text.text.encode()
    manifest = _manifest(text, maker, sources)
    if path.exists() and read_manifest(path) == manifest:
        say(f"{path}: already made, {text.items:,} items")
        return False
    discard(path)
    described = manifest.model_dump_json(indent=1) + "\n"
    write_whole(manifest_path(path), lambda file: file.write(described.encode()))
    write_whole(path, lambda file: file.write(content))
    say(f"{path}: {text.items:,} items")
    return True


def source_name(source: str) -> str:
    """The file name of a source, FILE or SPLIT=FILE, without its folder."""
    return Path(source.partition("=")[2] or source).name


def _manifest(text: TextFile, maker: str, sources: Sequence[str]) -> Manifest:
    digest = hashlib.sha256(text.text.encode()).hexdigest()[:16]
    return Manifest(
        encoder=maker, weights=", ".join(map(source_name, sources)), fitted=False, texts=digest, state="",
        shape=(text.items,), dtype="text", rows=digest,
    )  # fmt: skip
