"""Hashes of content: all of it below the limit, sampled blocks above."""

import hashlib

import numpy as np
import pytest

from itm_harness.datasets.files import contents
from itm_harness.datasets.files.contents import BLOCK, SAMPLED, array_hash, lines_hash

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def test_the_hash_is_that_of_shape_type_and_values():
    assert array_hash(ARRAY) == hashlib.sha256(b"(2, 3, 4) <f4" + ARRAY.tobytes()).hexdigest()[:32]


@pytest.mark.parametrize(
    "other", [ARRAY.reshape(3, 2, 4), ARRAY.view(np.int32), ARRAY.astype(np.float64), ARRAY[:1], ARRAY + 1e-6]
)
def test_another_shape_type_or_value_has_another_hash(other):
    assert array_hash(np.ascontiguousarray(other)) != array_hash(ARRAY)


def test_of_a_large_array_blocks_are_read_its_first_and_last_bytes_among_them(monkeypatch):
    monkeypatch.setattr(contents, "SAMPLED_FROM", 300 * BLOCK)
    large = np.zeros((300, BLOCK), np.uint8)
    first, whole = array_hash(large), array_hash(large, whole=True)
    assert first.startswith(SAMPLED)
    assert not whole.startswith(SAMPLED)
    for position in (0, large.size - 1):
        large.reshape(-1)[position] = 1
        assert array_hash(large) != first
        large.reshape(-1)[position] = 0
    large[1, BLOCK // 2 :] = 1  # between the first two blocks
    assert array_hash(large) == first
    assert array_hash(large, whole=True) != whole
    assert not array_hash(large[:299]).startswith(SAMPLED)


def test_lines_are_hashed_in_order():
    assert lines_hash(["a", "b"]) != lines_hash(["b", "a"])
    assert lines_hash(["a", "b"]) != lines_hash(["ab"])
