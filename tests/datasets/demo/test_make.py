"""The demo data set's first use: generated once, whole or not at all, made anew where its copy is damaged."""

import errno
import os
import threading

import pytest

from itm_harness.datasets.demo import make as demo
from itm_harness.datasets.errors import DataError


def write_tiny(folder):
    (folder / "demo").mkdir()
    (folder / "demo" / "file").write_text("complete")


def test_generated_once(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(demo, "write_demo", lambda folder: (calls.append(folder), write_tiny(folder)))
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "new" / "cache"))
    root = demo.ensure_demo()
    assert demo.ensure_demo() == root == tmp_path / "new" / "cache" / root.name
    assert len(calls) == 1
    assert [path.name for path in root.parent.iterdir()] == [root.name]


@pytest.mark.parametrize(
    "damage", [lambda f: f.write_text("half"), lambda f: f.write_text("complexe"), lambda f: f.unlink()]
)
def test_a_damaged_copy_is_made_anew(tmp_path, monkeypatch, damage):
    monkeypatch.setattr(demo, "write_demo", write_tiny)
    root = demo.ensure_demo(tmp_path)
    damage(root / "demo" / "file")
    assert demo.ensure_demo(tmp_path) == root
    assert (root / "demo" / "file").read_text() == "complete"
    assert [path.name for path in tmp_path.iterdir()] == [root.name]


def test_a_copy_with_other_times_is_not(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(demo, "write_demo", lambda folder: (calls.append(folder), write_tiny(folder)))
    root = demo.ensure_demo(tmp_path)
    os.utime(root / "demo" / "file", (1, 1))
    assert demo.ensure_demo(tmp_path) == root
    assert len(calls) == 1
    (root / "files.json").write_text("[]")
    demo.ensure_demo(tmp_path)
    assert len(calls) == 2


def test_a_changed_generator_has_another_folder(tmp_path):
    (tmp_path / "scenes.py").write_text("SIZE = 1\n")
    before = demo.source_hash(tmp_path)
    (tmp_path / "scenes.py").write_text("SIZE = 2\n")
    assert demo.source_hash(tmp_path) != before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_interrupted_leaves_nothing(tmp_path, monkeypatch, error):
    def interrupted(folder):
        write_tiny(folder)
        raise error

    monkeypatch.setattr(demo, "write_demo", interrupted)
    with pytest.raises(type(error)):
        demo.ensure_demo(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left"),
        (OSError("9 requested and 0 written"), "no space"),
    ],
)
def test_full_disk_is_one_sentence(tmp_path, monkeypatch, error, reason):
    def full(folder):
        write_tiny(folder)
        raise error

    monkeypatch.setattr(demo, "write_demo", full)
    with pytest.raises(DataError, match=f"{tmp_path}.*{reason}.*ITM_CACHE"):
        demo.ensure_demo(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_cache_that_is_no_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"could not be written there .*ITM_CACHE"):
        demo.ensure_demo(tmp_path / "file" / "cache")


def test_several_at_once_end_with_one_complete_copy(tmp_path, monkeypatch):
    barrier = threading.Barrier(3)

    def together(folder):
        write_tiny(folder)
        barrier.wait(timeout=20)

    monkeypatch.setattr(demo, "write_demo", together)
    roots = []
    threads = [threading.Thread(target=lambda: roots.append(demo.ensure_demo(tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(roots) == 3
    assert len(set(roots)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [roots[0].name]
    assert (roots[0] / "demo" / "file").read_text() == "complete"


def test_leftovers_of_a_killed_process_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "write_demo", write_tiny)
    old, young = tmp_path / ".demo-old.part", tmp_path / ".demo-young.part"
    for part in (old, young):
        part.mkdir()
    os.utime(old, (0, 0))
    demo.ensure_demo(tmp_path)
    assert not old.exists()
    assert young.exists()
