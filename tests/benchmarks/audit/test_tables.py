"""Generated files against the records: what counts as changed, and that nothing is copied to find out."""

import pytest

from itm_harness.benchmarks.audit import tables as module
from itm_harness.benchmarks.audit.tables import changed_tables, generated_files, rewrite_tables
from itm_tests.stores import Store

PAGE = """<p>{text}</p>
<script type="application/json" id="data">{{"rows":[{rows}],"charts":{{"v":"{version}"}}}}</script>
<script type="text/plain" id="vega">{version}</script>"""


@pytest.fixture
def results(tmp_path):
    store = Store()
    store.add()
    store.write(tmp_path)
    (tmp_path / "ABLATIONS.md").touch()
    (tmp_path / "TRANSFER.md").touch()
    return tmp_path


def test_tables_are_rewritten_from_the_folders_own_records(results):
    assert [sentence.split()[0] for sentence in changed_tables(results)] == [
        str(results / name) for name in ("ABLATIONS.md", "TRANSFER.md")
    ]
    assert list(rewrite_tables(results)) == [results / "ABLATIONS.md", results / "TRANSFER.md"]
    assert changed_tables(results) == []
    own = Store()
    own.add(flags=["transfer"], recipe={"trained_on": "coco"})
    own.write(results / "local")
    assert changed_tables(results) == []
    own.write(results)
    (sentence,) = changed_tables(results)
    assert sentence.endswith("TRANSFER.md is not what its records give; write it anew.")


def test_nothing_is_copied_to_compare(results, monkeypatch):
    seen = {}

    def write(copy):
        seen.update({path.name: path.is_symlink() for path in copy.iterdir()})

    monkeypatch.setitem(module.TABLES, "ABLATIONS.md", write)
    changed_tables(results)
    assert seen == {"records": True}


@pytest.mark.parametrize(
    ("text", "rows", "version", "changed"),
    [("a", "1", "2.0", False), ("b", "1", "1.0", True), ("a", "2", "1.0", True)],
)
def test_what_libraries_wrote_into_the_page_does_not_count(tmp_path, monkeypatch, text, rows, version, changed):
    (tmp_path / "index.html").write_text(PAGE.format(text="a", rows="1", version="1.0"))
    page = PAGE.format(text=text, rows=rows, version=version)
    monkeypatch.setitem(module.TABLES, "index.html", lambda copy: (copy / "index.html").write_text(page))
    assert bool(changed_tables(tmp_path)) == changed


def test_the_page_is_left_out_where_its_libraries_are_missing(tmp_path, monkeypatch):
    for name in ("index.html", "TRANSFER.md"):
        (tmp_path / name).touch()
    monkeypatch.setattr(module, "missing_libraries", lambda: ["altair"])
    assert generated_files(tmp_path) == ["TRANSFER.md"]
