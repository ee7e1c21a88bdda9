"""Arrays in the cache folder: used where they fit their sources, made anew where they do not."""

import os

import numpy as np
import pytest

from itm_harness.datasets.files import cache
from itm_harness.datasets.files.cache import cached


class Maker:
    """Counts how often it is asked."""

    def __init__(self, value=1):
        self.value, self.calls = value, 0

    def __call__(self):
        self.calls += 1
        return {"numbers": np.arange(3) * self.value, "empty": np.zeros(0, np.int32)}


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def the_file(folder):
    (path,) = (folder / "kind").iterdir()
    return path


def test_the_second_time_nothing_is_made(folder):
    make = Maker()
    first, second = (cached("kind", [b"code", b"captions"], make) for _ in range(2))
    assert make.calls == 1
    assert second["numbers"].tolist() == first["numbers"].tolist() == [0, 1, 2]
    assert (second.keys(), second["empty"].dtype) == (first.keys(), np.int32)


@pytest.mark.parametrize("sources", [[b"code", b"other captions"], [b"codecaptions"], [b"captions", b"code"]])
def test_other_sources_are_other_arrays(sources):
    cached("kind", [b"code", b"captions"], Maker())
    assert cached("kind", sources, Maker(5))["numbers"].tolist() == [0, 5, 10]


def spoiled(path):
    content = bytearray(path.read_bytes())
    content[content.index(np.arange(3).tobytes()) + 8] = 7  # a number inside an array
    path.write_bytes(content)


def of_something_else(path):
    with np.load(path) as arrays:
        np.savez(path, **{**arrays, "made_of": np.zeros(32, np.uint8), "numbers": np.ones(3)})


@pytest.mark.parametrize(
    "damage", [spoiled, of_something_else, lambda path: path.write_bytes(path.read_bytes()[:100]), lambda p: p.unlink()]
)
def test_what_is_damaged_or_of_something_else_is_replaced(folder, damage):
    cached("kind", [b"a"], Maker())
    damage(the_file(folder))
    make = Maker()
    for _ in range(2):
        assert cached("kind", [b"a"], make)["numbers"].tolist() == [0, 1, 2]
    assert make.calls == 1


def test_a_cache_that_cannot_be_written_is_done_without(folder):
    folder.write_text("a file where the folder should be")
    assert cached("kind", [b"a"], Maker())["numbers"].tolist() == [0, 1, 2]


def test_a_write_that_fails_leaves_nothing(folder, monkeypatch):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError("no space")

    monkeypatch.setattr(cache.np, "savez", full)
    cached("kind", [b"a"], Maker())
    assert list((folder / "kind").iterdir()) == []


def test_what_killed_writers_left_is_removed_and_what_others_write_now_is_not(folder):
    left, written_now = folder / "kind" / ".left.part", folder / "kind" / ".now.part"
    left.parent.mkdir(parents=True)
    for path in (left, written_now):
        path.write_bytes(b"half")
    os.utime(left, (0, 0))
    cached("kind", [b"a"], Maker())
    assert not left.exists()
    assert written_now.exists()
