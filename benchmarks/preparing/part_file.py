"""A file that grows step by step under a hidden name, goes on after a kill, and gets its name when it is whole."""

from __future__ import annotations

import fcntl
import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import ValidationError

from itm_harness.benchmarks.common.atomic import commit, discard, stage, unwritable, write_whole
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import Manifest, content_print, manifest_path


class PartFile:
    """The beginning of a file. rows: how many it holds; always whole steps, or all.

    Beside it lies what it will become, so that a part of other content is never gone on with.
    """

    def __init__(self, path: Path, manifest: Manifest, step: int, file: BinaryIO) -> None:
        self.path, self.manifest, self._file = path, manifest, file
        self.total = manifest.shape[0]
        self._kind = _Arrays(manifest) if path.suffix == ".npy" else _Lines()
        self.rows = self._cut_to_whole_steps(step)

    def append(self, rows: np.ndarray | Sequence[str]) -> None:
        """Add a step. Raises DataError where a number is not finite; what was there stays."""
        if isinstance(rows, np.ndarray) and rows.dtype.kind == "f" and not np.isfinite(rows).all():
            raise DataError(
                f"{self.path} is not written: encoder {self.manifest.encoder} gave numbers that are not finite."
            )
        self._file.write(self._kind.encoded(rows))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.rows += len(rows)

    def finish(self) -> None:
        """Give the file its name and its manifest. At no moment a manifest stands beside another file than its own."""
        whole = _as_list(self.path, self._file) if self.path.suffix == ".json" else part_path(self.path)
        described = self.manifest.model_copy(update={"rows": content_print(whole, self.path.suffix)})
        text = described.model_dump_json(indent=1) + "\n"
        staged = stage(manifest_path(self.path), lambda file: file.write(text.encode()))
        discard(self.path)  # an older one
        commit(staged, manifest_path(self.path))
        commit(whole, self.path)
        discard_part(self.path)

    def _cut_to_whole_steps(self, step: int) -> int:
        self._file.seek(0)
        rows, size = self._kind.whole_steps(self._file, step, self.total)
        self._file.truncate(size)
        self._file.seek(size)
        return rows


@contextmanager
def open_part(path: Path, manifest: Manifest, step: int) -> Iterator[PartFile]:
    """The part of `path` that an earlier call left, or a new one; kept whatever happens.

    Raises RunError where another process works on it, or the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part_path(path).open("a+b") as file:
            _lock(file, path)
            if _read_plan(path) != manifest:
                file.truncate(0)
                write_whole(_plan_path(path), lambda plan: plan.write(manifest.model_dump_json().encode()))
            yield PartFile(path, manifest, step, file)
    except OSError as error:
        raise unwritable(path, error) from error


def discard_part(path: Path) -> None:
    """Forget what was begun."""
    discard(part_path(path))
    discard(_plan_path(path))


def part_path(path: Path) -> Path:
    """Where a file grows."""
    return path.with_name(f".{path.name}.part")


def _plan_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.part.json")


def _read_plan(path: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json(_plan_path(path).read_bytes())
    except (OSError, ValidationError):
        return None


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(f"{path} is being made by another process; wait for it.") from error


class _Arrays:
    """Rows of the .npy format; the header says from the start how many there will be."""

    def __init__(self, manifest: Manifest) -> None:
        self.dtype, self.shape = np.dtype(manifest.dtype), manifest.shape
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        written = io.BytesIO()
        np.lib.format.write_array_header_1_0(written, header)
        self.header = written.getvalue()

    def encoded(self, rows: np.ndarray) -> bytes:
        return rows.astype(self.dtype, copy=False).tobytes()

    def whole_steps(self, file: BinaryIO, step: int, total: int) -> tuple[int, int]:
        """(rows, bytes) of whole steps; writes the header where it is not there."""
        size, begin = file.seek(0, os.SEEK_END), len(self.header)
        if size < begin:
            file.truncate(0)
            file.write(self.header)
            return 0, begin
        row = self.dtype.itemsize * math.prod(self.shape[1:])
        rows = _whole((size - begin) // row, step, total)
        return rows, begin + rows * row


class _Lines:
    """Lines of UTF-8 text."""

    def encoded(self, rows: Sequence[str]) -> bytes:
        return "".join(f"{line}\n" for line in rows).encode()

    def whole_steps(self, file: BinaryIO, step: int, total: int) -> tuple[int, int]:
        """(rows, bytes) of whole steps."""
        ends = np.cumsum([0, *(len(line) for line in file if line.endswith(b"\n"))])
        rows = _whole(len(ends) - 1, step, total)
        return rows, int(ends[rows])


def _whole(rows: int, step: int, total: int) -> int:
    return total if rows >= total else rows // step * step


def _as_list(path: Path, file: BinaryIO) -> Path:
    """A complete file, not named yet, with one JSON list of lines that are each the JSON of an item."""
    file.seek(0)
    items = file.read().rstrip(b"\n").replace(b"\n", b",\n")
    return stage(path, lambda whole: whole.write(b"[" + items + b"]\n"))
