"""Pictures, decoded one and all: which of them are broken, and whether that is known already."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import PIL

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.cache import Arrays, cached, default_cache
from itm_harness.datasets.pictures.folder import open_picture

LISTED = 20  # broken pictures that get a sentence each
FEW = 3  # before a run, of each split
CHUNK = 256  # pictures between two words on how far it is
STAMPS = "pictures"  # folder of the cache


def broken_pictures(
    paths: Sequence[Path], tell: Callable[[int], None] = lambda done: None, listed: int = LISTED
) -> list[str]:
    """A sentence per picture that cannot be decoded, then how many more there are; empty where all are intact.

    tell: called now and then with how many were looked at. listed: pictures that get a sentence each.
    """
    faults: list[str] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), CHUNK):
            faults += filter(None, pool.map(_fault, paths[start : start + CHUNK]))
            tell(min(start + CHUNK, len(paths)))
    more = len(faults) - listed
    return faults[:listed] + ([f"{more:,} more pictures of {paths[0].parent} cannot be decoded."] if more > 0 else [])


def require_intact(pictures: Mapping[str, Sequence[Path]], tell: Callable[[str], None] = lambda words: None) -> None:
    """Raises DataError that names pictures which cannot be decoded. pictures: split -> the files that are read of it.

    Splits that were found intact are not decoded again while names, sizes and times of their files stay the same: a
    stamp in the cache says so. tell: called now and then with what is being done.
    """
    broken = []
    for split, paths in pictures.items():
        try:
            with _one_process():
                cached(STAMPS, _signs(paths), lambda split=split, paths=paths: _checked(split, paths, tell))
        except DataError as error:
            broken.append(str(error))
    if broken:
        raise DataError("\n".join(broken))


def _checked(split: str, paths: Sequence[Path], tell: Callable[[str], None]) -> Arrays:
    """What a stamp holds beside its signs: nothing. Raises DataError where a picture is broken."""

    def tell_of(done: int) -> None:
        tell(f"decoding the pictures of {split}, once, to find broken ones now: {done:,} of {len(paths):,}")

    if broken := broken_pictures(paths, tell_of, FEW):
        raise DataError("\n".join(broken))
    return {}


def _signs(paths: Sequence[Path]) -> Iterator[bytes]:
    """All that the answer depends on."""
    yield PIL.__version__.encode()
    for path in paths:
        stat = path.stat()
        yield f"{path.absolute()} {stat.st_size} {stat.st_mtime_ns}".encode()


@contextmanager
def _one_process() -> Iterator[None]:
    """Of several processes that begin together one decodes; the others wait, and find its stamp."""
    folder = default_cache() / STAMPS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "lock", "w")  # noqa: SIM115 - held for as long as the check
    except OSError:  # without a cache each process decodes
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fault(path: Path) -> str | None:
    try:
        open_picture(path, smallest=1)  # the file is read to its end at an eighth of its size as well
    except DataError as error:
        return str(error)
    return None
