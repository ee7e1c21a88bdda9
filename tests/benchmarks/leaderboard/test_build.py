"""The leaderboard's files: written, restored alike, and without what is damaged."""

import csv
import json
import shutil

import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.build import current_code_hash, write_leaderboard
from itm_harness.benchmarks.records.code_hash import method_code_hash
from itm_harness.methods.registry import find_method
from itm_tests.places import ROOT
from itm_tests.stores import Store

ALL = ["md", "csv", "latex", "html", "json"]


@pytest.fixture
def store() -> Store:
    store = Store()
    store.add(0.5, benchmarks=("f30k-1k",), variant="bigru")
    store.add(0.7, benchmarks=("f30k-1k",), variant="bigru", seed=1)
    store.add(0.4, benchmarks=("f30k-1k",), method="vssr", variant="vssr")
    return store


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("LEADERBOARD.*")}


def test_all_formats_are_written_and_restored_byte_for_byte(store, tmp_path):
    store.write(tmp_path)
    written, problems = write_leaderboard(tmp_path, ALL)
    assert [path.name for path in written] == [f"LEADERBOARD.{s}" for s in ("md", "csv", "tex", "html", "json")]
    assert problems == []
    before = files(tmp_path)
    assert len(before) == 5
    for path in written:
        path.unlink()
    write_leaderboard(tmp_path, reversed(ALL))
    assert files(tmp_path) == before
    elsewhere = tmp_path / "elsewhere"  # another folder, other times of the files
    elsewhere.mkdir()
    shutil.copytree(tmp_path / "records", elsewhere / "records")
    write_leaderboard(elsewhere, ALL)
    assert files(elsewhere) == before


def test_the_formats_tell_the_same(store, tmp_path):
    store.write(tmp_path)
    write_leaderboard(tmp_path, ALL)
    (section,) = [
        b for b in json.loads((tmp_path / "LEADERBOARD.json").read_text())["benchmarks"] if b["benchmark"] == "f30k-1k"
    ]
    gpo, vssr = section["measured"]
    assert (gpo["method"], gpo["seeds"], gpo["rsum"]) == ("gpo", 2, 360.0)
    assert vssr["rsum"] == 240.0
    assert len(section["published"]) > 30
    beside = [(p["ours"], p["difference"]) for p in section["published"] if p["ours"] is not None]
    assert beside == [(360.0, -138.1)]  # VSE∞, table 2
    with (tmp_path / "LEADERBOARD.csv").open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if (r["benchmark"], r["kind"]) == ("f30k-1k", "measured")]
    assert [(r["method"], float(r["rsum"]), r["marks"]) for r in rows] == [
        ("gpo", 360.0, ""),
        ("vssr", 240.0, vssr["marks"]),
    ]
    for suffix in ("md", "tex", "html"):
        text = (tmp_path / f"LEADERBOARD.{suffix}").read_text()
        assert "360.0" in text
        assert "-138.1" in text


def test_only_what_is_asked_for_is_written(store, tmp_path):
    store.write(tmp_path)
    write_leaderboard(tmp_path)
    assert list(files(tmp_path)) == ["LEADERBOARD.md"]
    with pytest.raises(RunError, match="--format markdwn is unknown"):
        write_leaderboard(tmp_path, ["md", "markdwn"])


def test_damaged_records_are_named_and_the_rest_is_written(store, tmp_path):
    store.add(0.9, benchmarks=("f30k-1k",), method="gsmn", n_images=20)
    first, second, _, other_set = store.write(tmp_path)
    first.write_text("{")
    shutil.copy(second, second.with_name("copy.json"))
    (path,), problems = write_leaderboard(tmp_path)
    assert len(problems) == 3
    for name, what in ((first.name, "valid JSON"), ("copy.json", "copy of"), (other_set.stem, "different test set")):
        assert any(name in problem and what in problem for problem in problems), name
    damaged = path.read_bytes()
    for record in (first, second.with_name("copy.json"), other_set):
        record.unlink()
    assert write_leaderboard(tmp_path) == ([path], [])
    assert path.read_bytes() == damaged  # what was left out has left no trace


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RunError, match="typo does not exist"):
        write_leaderboard(tmp_path / "typo")


def test_the_current_code_of_a_shipped_method_is_known():
    assert current_code_hash("gpo") == method_code_hash(find_method("gpo").files)
    assert current_code_hash("somebody's own") is None


def test_the_committed_page_can_be_read_in_a_terminal():
    lines = (ROOT / "results" / "LEADERBOARD.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 200
    assert max(len(line) for line in lines if "](records/" not in line) <= 120  # links to records are longer
