"""The embedded demo data set: scenes of simple objects, generated on first use into a cache folder.

Its difficulty was set once, before methods were compared: twins (scenes.py), omissions (captions.py) and noise
(regions.py) are such that GPO lands between 25 and 75 % R@1. When it was set, one run reached 53.2 image to text and
31.0 text to image on demo-500, 72.4 and 48.5 on demo-100. As some captions are true of several pictures, a reader
without any error would reach 80 text to image on demo-500. Changing the generator's output makes old results stale.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import shutil
import time
import uuid
from pathlib import Path

from itm_harness.datasets.demo.seal import intact, seal
from itm_harness.datasets.demo.write import write_demo
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.cache import default_cache

MEGABYTES = 120  # what the data set takes on disk
ABANDONED_AFTER = 3600  # seconds; writing takes a few


def ensure_demo(cache: Path | None = None) -> Path:
    """The data root that holds demo/precomp and demo/images, generated where it is not there yet.

    cache: where data roots are kept; default: $ITM_CACHE, or ~/.cache/itm-harness. The root's name holds a hash of the
    generator, so that a changed generator never serves old data, and a copy that was damaged is made anew. An
    interrupted run leaves nothing behind, and of several processes at once all end with one complete copy. Raises
    DataError where the folder cannot be written.
    """
    cache = cache or default_cache()
    root = cache / f"demo-{source_hash()}"
    if intact(root):
        return root
    part = cache / f".demo-{uuid.uuid4().hex}.part"
    try:
        part.mkdir(parents=True)
        _remove_abandoned(cache)
        write_demo(part)
        seal(part)
        _publish(part, root)
    except OSError as error:
        raise DataError(
            f"{cache}: the demo data set ({MEGABYTES} MB) could not be written there ({_reason(error)}); make the "
            "folder writable and free some space, or name another one with ITM_CACHE=DIR."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return root


def source_hash(folder: Path = Path(__file__).parent) -> str:
    """Twelve hex digits that change with the name or content of any Python file in `folder`."""
    digest = hashlib.sha256()
    for source in sorted(folder.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _remove_abandoned(cache: Path) -> None:
    """Remove what processes that were killed have left: nobody writes for so long."""
    for part in cache.glob(".demo-*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(part, ignore_errors=True)


def _publish(part: Path, root: Path) -> None:
    """Give a complete folder its name, unless a faster process has: it has written the same. A damaged one goes."""
    if root.exists() and not intact(root):
        damaged = root.with_name(f".demo-{uuid.uuid4().hex}.part")
        root.rename(damaged)
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        part.rename(root)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _reason(error: OSError) -> str:
    return error.strerror or "no space left"  # numpy's short writes carry no error number
