"""Arrays that take long to make, kept in the cache folder; made anew where they do not fit what they are made of."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]
MADE_OF = "made_of"  # the array with the hash of what the others were made of
ABANDONED_AFTER = 3600  # seconds without a write


def default_cache() -> Path:
    """$ITM_CACHE, or ~/.cache/itm-harness."""
    return Path(os.environ.get("ITM_CACHE") or "~/.cache/itm-harness").expanduser()


def cached(kind: str, sources: Iterable[bytes], make: Callable[[], Arrays]) -> Arrays:
    """make(), or what it gave the last time that it had the same sources.

    kind: a folder of the cache. sources: all that the arrays depend on, code included. A file that is damaged or was
    made of something else is replaced; a cache that cannot be written is done without.
    """
    digest = hashlib.sha256()
    for source in sources:
        digest.update(len(source).to_bytes(8, "little") + source)
    made_of = np.frombuffer(digest.digest(), np.uint8)
    path = default_cache() / kind / f"{digest.hexdigest()[:24]}.npz"
    found = _read(path)
    if found is not None and np.array_equal(found.pop(MADE_OF, None), made_of):
        return found
    arrays = make()
    with suppress(OSError):
        _write(path, {**arrays, MADE_OF: made_of})
    return arrays


def _read(path: Path) -> Arrays | None:
    """The arrays of a file; None where it is not there or damaged (the archive keeps a checksum of each array)."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _write(path: Path, arrays: Arrays) -> None:
    """Aside in the same folder, flushed to disk, renamed: nobody ever reads half of it."""
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path.parent)
        with part.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove what writers that were killed have left."""
    for part in folder.glob(".*.part"):
        with suppress(OSError):  # its writer may just rename it
            if time.time() - part.stat().st_mtime > ABANDONED_AFTER:
                part.unlink()
