"""What an audit finds: each kind of damage to a record, its data, the tables and the published numbers."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from itm_harness.benchmarks.audit import folder as module
from itm_harness.benchmarks.audit.folder import Report, audit, changed_published, wrong_flags, wrong_metrics
from itm_harness.benchmarks.leaderboard.build import write_leaderboard
from itm_harness.benchmarks.records.schema import Epoch
from itm_harness.benchmarks.records.store import read_record
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_tests.places import ROOT
from itm_tests.stores import Store
from itm_tests.trees import write_coco

SMALL = {"embed_size": 16, "train.batch_size": 20, "train.epochs": 2, "text.bert": None, "text.word_dim": 8}


@pytest.fixture
def place(tmp_path, accelerator, quiet):
    """A data root with a contributed run's results: two benchmarks, one of them in folds; and its leaderboard."""
    write_coco(tmp_path / "data")
    job = RunOptions("gsmn", "coco", tmp_path / "data", output=tmp_path, overrides=SMALL, hash_whole=True)
    run(job, [0], accelerator, quiet)
    (tmp_path / "results" / "local" / "records").rename(tmp_path / "results" / "records")
    write_leaderboard(tmp_path / "results", ["md", "json"])
    return tmp_path


def audited(place, *names, whole=False, root="data") -> Report:
    report = Report()
    audit(place / "results", names, place / root, whole, report)
    return report


def the_record(place):
    (path,) = (place / "results" / "records").glob("*.json")
    return path


def change(path, edit):
    """Edit a JSON file in place."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_what_a_run_leaves_holds(place):
    for report in (audited(place), audited(place, whole=True), audited(place, "gsmn")):
        assert (report.wrong, report.notes) == ([], [])
    assert audited(place).checked == ["1 record", "the published numbers", "2 generated tables"]


def test_metrics_that_do_not_follow_from_the_ranks(place):
    path = the_record(place)

    def better(content):
        metrics = content["metrics"]["coco-1k"]
        metrics["t2i"]["r1"] += 1
        metrics["rsum"] += 1

    change(path, better)
    (wrong,) = audited(place).wrong
    assert "coco-1k: t2i r1 is" in wrong


def test_a_table_that_was_edited(place):
    table = place / "results" / "LEADERBOARD.md"
    table.write_text(table.read_text().replace("Leaderboard", "Leader board"))
    (wrong,) = audited(place).wrong
    assert "LEADERBOARD.md is not what its records give" in wrong


def test_ones_own_records_are_checked_and_stand_in_no_table_that_is(place):
    store = Store()
    own = store.add(flags=["nonstandard_size"])
    (path,) = store.write(place / "results" / "local")
    report = audited(place)
    assert (report.wrong, report.checked[0]) == ([], "2 records")
    path.write_text("{")
    (wrong,) = audited(place).wrong
    assert f"local/records/{own.id}.json is not valid JSON" in wrong


def test_damaged_files_are_named(place):
    path = the_record(place)
    change(path, lambda content: content.update(seed="x"))
    assert "is not a valid record: seed" in audited(place).wrong[0]
    path.with_suffix(".npz").write_bytes(b"half")
    assert len(audited(place).wrong) > 0


@pytest.mark.parametrize(("file", "part"), [("train_caps.txt", "train captions"), ("testall_ims.npy", "test features")])
def test_data_that_have_changed_are_named(place, file, part):
    path = place / "data" / "coco_precomp" / file
    if path.suffix == ".npy":
        array = np.load(path)
        array[-1, -1, -1] += 1
        np.save(path, array)
    else:
        path.write_text(path.read_text().replace("dog", "cat", 1))
    wrong = audited(place).wrong
    assert part in wrong[0]
    assert "is not what it was made from" in wrong[0]
    assert len(wrong) == (2 if path.suffix == ".txt" else 1)  # another word is another token


def test_data_that_are_not_at_hand_are_told_and_not_wrong(place):
    shutil.rmtree(place / "data")
    report = audited(place)
    assert report.wrong == []
    assert "records of coco, whose data are not at hand" in report.notes[0]


def test_code_that_has_changed_is_told_and_not_wrong(place, monkeypatch):
    for code, told in (("other", "stale"), (None, "not part of this checkout")):
        monkeypatch.setattr(module, "current_hash", lambda *name, code=code: code)
        report = audited(place, "gsmn")
        assert report.wrong == []
        assert told in report.notes[0]


def test_published_numbers_are_those_that_were_committed(tmp_path):
    assert changed_published() == []
    folder = tmp_path / "published"
    shutil.copytree(module.PUBLISHED, folder)
    file = folder / "published.csv"
    file.write_text(file.read_text().replace("1", "2", 1))
    (folder / "another.csv").write_text("")
    (folder / "eccv.csv").unlink()
    found = changed_published(folder)
    assert [name for sentence in found for name in ("another", "eccv", "published.csv") if f"/{name}" in sentence] == [
        "another",
        "eccv",
        "published.csv",
    ]


HISTORY = (Epoch(epoch=0, dev_rsum=10), Epoch(epoch=1, dev_rsum=30), Epoch(epoch=2, dev_rsum=30))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"history": HISTORY, "selected_epoch": 1}, None),
        ({"history": HISTORY, "selected_epoch": 2}, "selection rule"),  # the first of equals
        ({"history": HISTORY, "selected_epoch": 1, "selection": "last"}, "selection rule"),
        ({"history": HISTORY, "selected_epoch": 1, "recipe": {"train": {"select": "last"}}}, "selection rule"),
        ({"flags": ["imported"]}, "hash of weights"),
        ({"flags": ["imported"], "weights": "ab"}, None),
        ({"recipe": {"trained_on": "coco"}}, "flag transfer"),
        ({"steps": 3, "skipped_steps": 4}, "more steps were skipped"),
        ({"flags": ["gallery_score"]}, "gallery_score does not fit the method"),
        ({"flags": []}, "nonstandard_size"),
        ({"sidecar_sources": {"clip_images": "simulated"}}, "simulated inputs"),
    ],
)
def test_flags_that_the_record_itself_denies(changes, found):
    record = Store().add(0.5, **{"flags": ["nonstandard_size", *changes.pop("flags", [])], **changes}) if (
        changes != {"flags": []}
    ) else Store().add(0.5)  # fmt: skip
    sentences = wrong_flags(record)
    assert len(sentences) == (found is not None), sentences
    assert found is None or found in sentences[0]


def test_a_collapse_without_its_mark_is_found():
    store = Store()
    record = store.add(0.0, steps=10, flags=["nonstandard_size"])
    tied = {n: m.model_copy(update={"i2t": m.i2t.model_copy(update={"ties": 3})}) for n, m in record.metrics.items()}
    record = record.model_copy(update={"metrics": tied})
    assert "collapsed" in wrong_flags(record)[0]
    assert wrong_flags(record.model_copy(update={"diverged": "collapsed"})) == []


def test_ranks_that_are_none_are_found(place):
    record = read_record(the_record(place))
    details = module.read_details_beside(the_record(place), record)
    assert wrong_metrics(record, details) == []
    worse = {name: replace(d, i2t_ranks=d.i2t_ranks + 1) for name, d in details.items()}
    assert any("coco-5k: i2t mean" in sentence for sentence in wrong_metrics(record, worse))
    negative = {name: replace(d, i2t_ranks=d.i2t_ranks - 100) for name, d in details.items()}
    assert "no ranks" in wrong_metrics(record, negative)[0]


def test_the_committed_results_hold_and_their_tables_are_what_the_contributed_records_give():
    report = Report()
    audit(ROOT / "results", [], None, False, report)
    assert report.wrong == []
    tables = {path.name for path in (ROOT / "results").iterdir() if path.is_file()}
    assert report.checked[-1] == f"{len(tables)} generated tables"


def test_a_users_own_results_are_no_part_of_the_repository():
    assert "/results/local/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
