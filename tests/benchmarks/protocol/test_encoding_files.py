"""Encodings on disk are those in memory, leave no file behind, and a full disk is named."""

import errno
import tempfile
from pathlib import Path

import pytest
import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol.encoding_files import mapped
from itm_harness.methods.parts.encoded import Encoded, Ragged


def part(n, seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 4, (n,), generator=generator)
    words = torch.randn(int(lengths.sum()), 3, generator=generator)
    kinds = torch.randint(9, (n, 2), generator=generator)
    return Encoded({"words": Ragged(words, torch.nn.functional.pad(lengths.cumsum(0), (1, 0))), "kinds": kinds})


def test_they_are_those_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    parts = [part(n, n) for n in (5, 1, 7)]
    found, expected = mapped(iter(parts)), Encoded.concatenate(parts)
    assert str(tmp_path) in Path("/proc/self/maps").read_text()  # read from disk
    assert len(found) == 13
    for some, same in ((found, expected), (found[4:9], expected[4:9])):
        assert torch.equal(some["kinds"], same["kinds"])
        assert torch.equal(some["words"].values, same["words"].values)
        assert torch.equal(some["words"].offsets, same["words"].offsets)
    assert list(tmp_path.iterdir()) == []


def test_no_values_at_all():
    empty = Encoded({"words": Ragged(torch.empty(0, 3), torch.zeros(3, dtype=torch.int64))})
    assert mapped([empty])["words"].lengths.tolist() == [0, 0]


def test_a_full_disk_is_named(monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(RunError, match=r"No space left on device.*TMPDIR"):
        mapped([part(3, 0)])
