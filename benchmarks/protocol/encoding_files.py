"""Encodings that would not fit into memory: in unnamed temporary files, mapped back. They vanish with the process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.methods.parts.encoded import Encoded, Ragged


def mapped(parts: Iterable[Encoded]) -> Encoded:
    """The parts one behind the other, on the CPU, read from disk when a slice is used.

    Raises RunError where the folder for temporary files has no room.
    """
    columns: dict[str, _Column] = {}
    try:
        for part in parts:
            for name, value in part.tensors.items():
                columns.setdefault(name, _Column()).append(value)
    except OSError as error:
        raise RunError(
            f"the encodings of a gallery cannot be written to {tempfile.gettempdir()}: {error.strerror}; make room "
            f"there, or let the environment variable TMPDIR name a folder on a larger disk."
        ) from error
    return Encoded({name: column.whole() for name, column in columns.items()})


class _Column:
    """One named tensor of the encodings, growing on disk."""

    def __init__(self) -> None:
        self.file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as it grows
        self.lengths: list[Tensor] = []
        self.rows = 0

    def append(self, value: Tensor | Ragged) -> None:
        if isinstance(value, Ragged):
            self.lengths.append(value.lengths.cpu())
            value = value.values
        rows = value.cpu().contiguous().numpy()
        self.file.write(rows.data)
        self.rows += len(rows)
        self.dtype, self.shape = rows.dtype, rows.shape[1:]

    def whole(self) -> Tensor | Ragged:
        self.file.flush()
        shape = (self.rows, *self.shape)
        empty = self.rows == 0  # no file of no bytes can be mapped
        array = np.empty(shape, self.dtype) if empty else np.memmap(self.file, self.dtype, mode="c", shape=shape)
        values = torch.from_numpy(array)  # a mapping keeps its file alive
        self.file.close()
        if not self.lengths:
            return values
        return Ragged(values, torch.nn.functional.pad(torch.cat(self.lengths).cumsum(0), (1, 0)))
