"""Files appear whole or not at all."""

import errno
import os

import pytest

from itm_harness.benchmarks.common import atomic
from itm_harness.benchmarks.common.atomic import write_whole
from itm_harness.benchmarks.common.errors import RunError


def test_a_file_is_written_into_a_new_folder(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    write_whole(path, lambda file: file.write(b"content"))
    assert path.read_bytes() == b"content"
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_keeps_the_older_file_and_leaves_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    path.write_bytes(b"older")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, call, fail)
    with pytest.raises(RunError, match=r"file cannot be written: No space left on device; make room"):
        write_whole(path, lambda file: file.write(b"newer"))
    assert path.read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["file"]


def test_an_interrupted_writer_leaves_nothing(tmp_path):
    def interrupted(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file", interrupted)
    assert os.listdir(tmp_path) == []


def test_nothing_bears_the_name_before_it_is_complete(tmp_path):
    path, seen = tmp_path / "file", []

    def write(file):
        file.write(b"half")
        file.flush()
        seen.append(path.exists())

    write_whole(path, write)
    assert seen == [False]
    assert path.read_bytes() == b"half"


def test_a_file_in_the_place_of_the_folder_is_one_sentence(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_whole(tmp_path / "results" / "file", lambda file: file.write(b""))
