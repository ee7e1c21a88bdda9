"""The page as a file: the same bytes again, nothing untrusted runs, what is damaged is named."""

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from itm_harness.benchmarks.commands import app as harness
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.board import boards_of
from itm_harness.benchmarks.leaderboard.build import read_runs
from itm_harness.benchmarks.report import render as rendering
from itm_harness.benchmarks.report.render import json_in_html, write_report
from itm_harness.benchmarks.report.styles import key_of
from itm_harness.datasets.errors import DataError
from itm_tests.pages import HOSTILE, HOSTILE_TEXT, page_store, write_data
from itm_tests.places import ROOT

RESULTS = ROOT / "results"


class Parsed(HTMLParser):
    """Scripts by id or type, and the elements of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts, self.elements, self.policy, self._script = {}, [], "", None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        if tag in ("script", "style"):
            self._script = attributes.get("id") or attributes.get("type") or tag
            assert self._script not in self.scripts
            self.scripts[self._script] = ""

    def handle_endtag(self, tag):
        self._script = None

    def handle_data(self, data):
        if self._script:
            self.scripts[self._script] += data


@pytest.fixture
def place(tmp_path):
    """results/ with records, data/ with f30k."""
    write_data(tmp_path / "data")
    page_store().write(tmp_path / "results")
    return tmp_path


@pytest.fixture
def page(place):
    path, notes, problems = write_report(place / "results", None, ["f30k"], place / "data")
    assert (path, notes, problems) == (place / "results" / "index.html", [], [])
    return Parsed(path.read_text(encoding="utf-8"))


def test_the_same_records_give_the_same_bytes(place):
    path, _, _ = write_report(place / "results")
    before = path.read_bytes()
    path.unlink()
    shutil.copytree(place / "results", place / "elsewhere")
    write_report(place / "results")
    other, _, _ = write_report(place / "elsewhere", place / "other.html")
    assert path.read_bytes() == other.read_bytes() == before
    assert str(place).encode() not in before


def test_captions_recipes_and_names_are_text(page):
    data = json.loads(page.scripts["data"])
    assert data["views"][0]["captions"][HOSTILE_TEXT] == HOSTILE
    assert list(page.scripts) == ["style", "data", "vega", "module"]  # no further script has been opened
    assert not [attributes for tag, attributes in page.elements if tag == "img"]
    assert ("b", {}) not in page.elements
    assert data["ablations"][0]["bars"][0]["label"] == "x=<b>&"


def test_json_cannot_leave_its_element():
    text = json_in_html(["</script><!--", "&lt;", "]]>"])
    assert not set("<>&") & set(text)
    assert json.loads(text) == ["</script><!--", "&lt;", "]]>"]


def test_the_policy_lets_only_the_page_itself_run(page):
    for name, directive in (("module", "script-src"), ("style", "style-src")):
        digest = base64.b64encode(hashlib.sha256(page.scripts[name].encode()).digest()).decode()
        assert re.search(rf"{directive} 'sha256-{re.escape(digest)}'", page.policy)
    assert page.policy.startswith("default-src 'none'")
    assert "http" not in page.policy
    handlers = [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    linked = [a.get("src") or a.get("href") for _, a in page.elements if a.get("src") or a.get("href")]
    assert handlers == []
    assert all(link.startswith(("#", "data:")) for link in linked)
    assert not any("style" in attributes for _, attributes in page.elements)


def test_only_demo_and_what_is_asked_for_is_shown(place):
    path, _, _ = write_report(place / "results")
    text = path.read_text(encoding="utf-8")
    captions = (place / "data" / "f30k" / "precomp" / "test_caps.txt").read_text().splitlines()
    assert captions[0] not in text
    assert json.loads(Parsed(text).scripts["data"])["views"] == []
    assert 'id="viewer"' not in text


def test_a_data_set_that_is_asked_for_must_be_at_hand(place):
    with pytest.raises(DataError, match="data set f30k: there is no"):
        write_report(place / "results", None, ["f30k"], place)
    with pytest.raises(DataError, match="unknown data set 'f30'"):
        write_report(place / "results", None, ["f30"], place / "data")
    assert not (place / "results" / "index.html").exists()


def test_without_its_pictures_a_data_set_is_shown_by_its_captions(place):
    (place / "data" / "f30k" / "id_mapping.json").unlink()
    path, notes, _ = write_report(place / "results", None, ["f30k"], place / "data")
    assert len(notes) == 1
    assert notes[0].startswith("f30k: its pictures are not shown; there is no ")
    assert json.loads(Parsed(path.read_text(encoding="utf-8")).scripts["data"])["views"][0]["pictures"] is None


def test_damaged_records_are_named_and_the_rest_is_written(place, monkeypatch, capsys):
    damaged = next((place / "results" / "records").glob("third*.npz"))
    damaged.write_bytes(b"PK")
    monkeypatch.setattr("sys.argv", ["harness.py", "report", "--results", str(place / "results")])
    with pytest.raises(SystemExit) as stopped:
        harness.main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert str(damaged) in error
    assert "left out: 1" in error
    text = (place / "results" / "local" / "index.html").read_text(encoding="utf-8")
    assert "second fusion" in text
    assert ">third<" not in text


def test_an_empty_store_is_a_page_of_published_numbers(tmp_path):
    (tmp_path / "records").mkdir()
    path, _, problems = write_report(tmp_path)
    assert problems == []
    assert "No run has been recorded yet" in path.read_text(encoding="utf-8")
    with pytest.raises(RunError, match="typo does not exist"):
        write_report(tmp_path / "typo")


def test_a_missing_library_is_named(place, monkeypatch):
    monkeypatch.setattr(rendering.importlib.util, "find_spec", lambda name: None if name == "altair" else object())
    with pytest.raises(RunError, match=r"needs altair: pip install -e '\.\[report\]'"):
        write_report(place / "results")


def test_the_committed_page_shows_every_committed_row_of_demo_and_no_other_captions():
    text = (RESULTS / "index.html").read_text(encoding="utf-8")
    boards = [board for board in boards_of(read_runs(RESULTS)[0]) if board.is_smoke_test]
    rows = {key_of(standing.row) for board in boards for standing in board.standings}
    assert rows
    assert rows == rows & set(re.findall(r'<tr data-key="(\w{12})"', text))
    assert {view["dataset"] for view in json.loads(Parsed(text).scripts["data"])["views"]} == {"demo"}
    assert len(text.encode()) < 5_000_000
