"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from glob import escape
from pathlib import Path
from typing import BinaryIO

from itm_harness.benchmarks.common.errors import RunError

ABANDONED_AFTER = 3600  # seconds without a write


def write_whole(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write `path` so that nobody ever reads half of it: aside in the same folder, flushed to disk, renamed.

    write: gets the open binary file. Raises RunError where the folder is not writable or the disk is full; the file
    that was there before is then untouched, and nothing partial is left.
    """
    commit(stage(path, write), path)


def stage(path: Path, write: Callable[[BinaryIO], None]) -> Path:
    """The first half of `write_whole`: a complete, flushed file under a hidden name beside `path`, which it returns."""
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        with staged.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        discard(staged)
        raise unwritable(path, error) from error
    except BaseException:
        discard(staged)
        raise
    return staged


def commit(staged: Path, path: Path) -> None:
    """The second half: gives the staged file its name. Raises RunError; the staged file is gone in any case."""
    try:
        os.replace(staged, path)
        sync(path.parent)
    except OSError as error:
        discard(staged)
        raise unwritable(path, error) from error


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(path: Path) -> None:
    """Remove a file that may not be there, or whose folder may not be."""
    try:
        path.unlink()
    except OSError:
        return


def _remove_abandoned(path: Path) -> None:
    """Remove what writers of `path` that were killed have left."""
    for part in path.parent.glob(f".{escape(path.name)}.*.part"):
        try:
            age = time.time() - part.stat().st_mtime
        except OSError:  # its writer has just named it
            continue
        if age > ABANDONED_AFTER:
            discard(part)


def unwritable(path: Path, error: OSError) -> RunError:
    """The sentence for a file that the system refuses to write."""
    return RunError(
        f"{path} cannot be written: {error.strerror or error}; "
        f"make room or give another folder, then repeat the command."
    )
