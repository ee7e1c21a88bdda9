""".npy files: opened as memory maps, faults told in one sentence; rows gathered without reading the rest."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from itm_harness.datasets.errors import DataError

LARGE = 1 << 30  # bytes
FLOATS = (np.dtype(np.float32), np.dtype(np.float16))


def open_array(path: Path, mode: Literal["r", "c"] = "r") -> np.ndarray:
    """The array of a .npy file, memory-mapped. mode: r = read-only, c = changes stay in memory.

    Raises DataError where the file is missing, truncated, empty, pickled or in column order.
    """
    try:
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except Exception as error:  # a damaged header raises nearly anything
        raise DataError(_fault(path, error)) from error
    if not isinstance(array, np.memmap):
        raise DataError(f"{path} is no .npy file; write it with numpy.save.")
    if array.ndim > 1 and not array.flags.c_contiguous:
        raise DataError(f"{path} is stored in column order; save numpy.ascontiguousarray(array) instead.")
    return array.view(np.ndarray)


def _fault(path: Path, error: Exception) -> str:
    size, reason = f"{path.stat().st_size:,} bytes", " ".join(str(error).split())
    if "Python objects" in reason or "pickle" in reason:
        return (
            f"{path} holds pickled objects or is no .npy file, which is not read because it could run code; "
            f"save it anew as a plain array with numpy.save(..., allow_pickle=False)."
        )
    if "mmap length" in reason or isinstance(error, EOFError):
        return f"{path} is truncated ({size}, less than its header announces); download or write it again."
    return f"{path} cannot be read as a .npy file ({size}: {reason}); download or write it again."


def require_float(array: np.ndarray, path: Path, ndim: int, axes: str) -> None:
    """Raise DataError unless the array is float32 or float16 with `ndim` axes."""
    if array.dtype not in FLOATS:
        raise DataError(f"{path} holds {array.dtype}; expected float32 or float16: save array.astype('float32').")
    if array.ndim != ndim:
        raise DataError(f"{path} has shape {array.shape}; expected {ndim} axes: {axes}.")


def as_batched(values: np.ndarray) -> np.ndarray:
    """values in the types of a batch (not copied where they are): floats float32, whole numbers and bools int64."""
    wanted = np.float32 if values.dtype.kind == "f" else np.int64
    return values.astype(wanted, copy=False)


def view_rows(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """array[rows], as a view of the memory map where the rows are evenly spaced (all, the first n, every fifth)."""
    if len(rows) == 0:
        return array[:0]
    step = int(rows[1] - rows[0]) if len(rows) > 1 else 1
    if step > 0 and np.array_equal(rows, np.arange(len(rows)) * step + rows[0]):
        return array[rows[0] : rows[-1] + 1 : step]
    return array[rows]


def announce(array: np.ndarray, rows: np.ndarray) -> None:
    """Ask the system to fetch rows of a large memory-mapped array together, before they are touched.

    From a disk, this is several times faster than one page fault after the other. Does nothing for small arrays, which
    are soon in memory anyway, and where the system cannot be asked.
    """
    mapped = getattr(array.base, "base", None)
    if array.nbytes < LARGE or not isinstance(mapped, mmap.mmap) or not hasattr(mmap, "MADV_WILLNEED"):
        return
    first = array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data  # where the array begins in the map
    starts = first + rows * array.strides[0]
    for start in starts.tolist():
        page = start - start % mmap.PAGESIZE
        mapped.madvise(mmap.MADV_WILLNEED, page, start + array.strides[0] - page)


class Packed(NamedTuple):
    """Which regions of each image stay.

    order: (B, L) int64, the kept positions first, in order; L may exceed all lengths. lengths: (B,) int64.
    """

    order: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, kept: np.ndarray) -> Packed:
        """kept: (B, N) bool, at least one per row."""
        lengths = kept.sum(axis=1, dtype=np.int64)
        return cls(np.argsort(~kept, axis=1, kind="stable")[:, : lengths.max()], lengths)

    def take(self, rows: np.ndarray | slice) -> Packed:
        """The images `rows`, as wide as before."""
        return Packed(self.order[rows], self.lengths[rows])

    @property
    def padding(self) -> np.ndarray:
        """(B, L) bool: what lies behind the kept regions."""
        return np.arange(self.order.shape[1]) >= self.lengths[:, None]


def gather_regions(features: np.ndarray, rows: np.ndarray, packed: Packed | None) -> tuple[np.ndarray, np.ndarray]:
    """Region features of a batch, each region copied once from the memory map.

    features: (R, N, D). rows: (B,). packed: the regions that stay, or None for all. Returns regions (B, L, D) float32,
    the kept ones packed to the front in order and zero behind them, and lengths (B,) int64.
    """
    announce(features, rows)
    if packed is None:
        regions = features.take(rows, axis=0)
        return as_batched(regions), np.full(len(rows), features.shape[1])
    flat = features.reshape(-1, features.shape[-1])  # (R·N, D), a view
    regions = np.empty((*packed.order.shape, features.shape[-1]), features.dtype)
    source = rows[:, None].astype(np.int64) * features.shape[1] + packed.order
    flat.take(source, axis=0, out=regions, mode="clip")  # clip: the only mode that writes to `out` unbuffered
    regions[packed.padding] = 0
    return as_batched(regions), packed.lengths


def first_non_finite(values: np.ndarray) -> int | None:
    """The first row that holds NaN or inf, None where there is none. values: (B, ...)."""
    with np.errstate(over="ignore", invalid="ignore"):
        if values.dtype.kind != "f" or np.isfinite(values.sum()):  # one cheap pass in the ordinary case
            return None
    bad = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
    return int(bad[0]) if len(bad) else None
