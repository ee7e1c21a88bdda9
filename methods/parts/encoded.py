"""Encodings of a gallery: named tensors, rows of variable length stored flat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Ragged:
    """Rows of variable length, stored flat. values: (sum of lengths, ...), offsets: (n + 1,) int64."""

    values: Tensor
    offsets: Tensor

    @classmethod
    def from_padded(cls, padded: Tensor, lengths: Tensor) -> Ragged:
        """padded: (n, L, ...) with lengths (n,). Padding is dropped."""
        valid = torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]  # (n, L)
        return cls(padded[valid], nn.functional.pad(lengths.cumsum(0), (1, 0)))

    @property
    def lengths(self) -> Tensor:
        """(n,) int64."""
        return self.offsets.diff()

    def padded(self) -> Tensor:
        """(n, longest, ...), zero behind each row's length."""
        lengths = self.lengths
        valid = torch.arange(int(lengths.max()), device=lengths.device) < lengths[:, None]
        rows = self.values.new_zeros(*valid.shape, *self.values.shape[1:])
        rows[valid] = self.values
        return rows

    def to(self, device: torch.device) -> Ragged:
        """The same rows on a device."""
        return Ragged(self.values.to(device), self.offsets.to(device))

    def __getitem__(self, rows: slice) -> Ragged:
        offsets = self.offsets[rows.start : rows.stop + 1]
        return Ragged(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])


@dataclass(frozen=True)
class Encoded:
    """A gallery's encodings by name. First axis = items; those of variable length are Ragged."""

    tensors: dict[str, Tensor | Ragged] = field(default_factory=dict)

    def __len__(self) -> int:
        first = next(iter(self.tensors.values()))
        return len(first.offsets) - 1 if isinstance(first, Ragged) else len(first)

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self._values()[0].device

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return sum(values.numel() * values.element_size() for values in self._values())

    def _values(self) -> list[Tensor]:
        return [v.values if isinstance(v, Ragged) else v for v in self.tensors.values()]

    @overload
    def __getitem__(self, key: str) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> Encoded: ...
    def __getitem__(self, key: str | slice) -> Any:
        """A Tensor or Ragged, whichever its method stored under this name, or the items start:stop."""
        if isinstance(key, str):
            return self.tensors[key]
        start, stop, _ = key.indices(len(self))
        return Encoded({name: value[start:stop] for name, value in self.tensors.items()})

    def chunks(self, size: int) -> Iterator[tuple[int, Encoded]]:
        """(first item, items) for consecutive chunks of at most `size` items."""
        for start in range(0, len(self), size):
            yield start, self[start : start + size]

    def to(self, device: torch.device) -> Encoded:
        """The same encodings on a device."""
        return Encoded({name: value.to(device) for name, value in self.tensors.items()})

    def float(self) -> Encoded:
        """The same encodings in float32; integers stay integers."""
        return Encoded({name: _float(value) for name, value in self.tensors.items()})

    @staticmethod
    def concatenate(parts: Sequence[Encoded]) -> Encoded:
        """The parts one behind the other."""
        return Encoded({name: _concatenate([p.tensors[name] for p in parts]) for name in parts[0].tensors})


def _float(value: Tensor | Ragged) -> Tensor | Ragged:
    if isinstance(value, Ragged):
        return Ragged(_float(value.values), value.offsets)
    return value.float() if value.is_floating_point() else value


def _concatenate(values: list[Tensor | Ragged]) -> Tensor | Ragged:
    if isinstance(values[0], Tensor):
        return torch.cat(values)
    lengths = torch.cat([v.lengths for v in values])
    return Ragged(torch.cat([v.values for v in values]), nn.functional.pad(lengths.cumsum(0), (1, 0)))
