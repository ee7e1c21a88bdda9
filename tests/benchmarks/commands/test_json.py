"""--json: one document on standard output and nothing else; what is noted or wrong goes to standard error."""

import json
import sys

import pytest

from itm_harness.benchmarks.commands import app as harness
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.store import read_records
from itm_harness.benchmarks.runs import run as run_module
from itm_tests.trees import write_f30k

SMALL = ["--set", "text.bert=null", "--set", "embed_size=16", "--set", "train.batch_size=20", "--epochs", "1"]


@pytest.fixture
def ask(monkeypatch, capsys):
    """Run a command with --json: its exit code, the document, and what standard error was told."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["itm", *map(str, arguments), "--json"])
        with pytest.raises(SystemExit) as stop:
            harness.main()
        out, error = capsys.readouterr()
        return stop.value.code or 0, json.loads(out) if out else None, error

    return call


@pytest.fixture
def asked_run(ask, tmp_path):
    """`run` on a miniature of f30k."""
    write_f30k(tmp_path / "data")
    base = ["--dataset", "f30k", "--data-root", tmp_path / "data", "--output", tmp_path / "out", "--device", "cpu"]

    def call(*arguments):
        return ask("run", *base, *SMALL, *arguments)

    return call


def test_a_sweep_gives_its_records_and_what_failed(asked_run, tmp_path, monkeypatch):
    code, found, error = asked_run("--method", "gpo", "--seeds", "0,1")
    assert code == 0
    assert [record["seed"] for record in found["records"]] == [0, 1]
    assert found["failed"] == []
    assert "epoch 1/1" in error  # progress
    filed = read_records(tmp_path / "out" / "results" / "local")
    assert {record["id"] for record in found["records"]} == {record.id for record in filed}
    assert found["records"][0]["metrics"]["f30k-1k"]["rsum"] > 0
    assert "next:" not in error

    def fail(*arguments):
        raise RunError("a sentence.")

    monkeypatch.setattr(run_module, "_train", fail)
    code, found, error = asked_run("--method", "gpo", "--seeds", "1,2")
    assert code == 2
    assert [record["seed"] for record in found["records"]] == [1]  # it was finished before
    assert found["failed"] == [{"run": "gpo f30k seed 2", "reason": "a sentence."}]
    assert "gpo f30k seed 2: a sentence." in error


def test_a_dry_run_gives_recipes_and_memory(asked_run):
    code, plans, error = asked_run("--method", "gpo,hrem", "--dry-run")
    assert (code, error) == (0, "")
    assert [plan["recipe"]["method"] for plan in plans] == ["gpo", "hrem"]
    assert plans[0]["recipe"]["values"]["embed_size"] == 16
    assert plans[0]["recipe"]["sources"]["embed_size"] == "--set"
    assert all(size > 0 for size in plans[0]["expected_memory"].values())


def test_what_is_wrong_is_a_sentence_and_no_document(asked_run):
    code, found, error = asked_run("--method", "gpoo")
    assert (code, found) == (2, None)
    assert error.startswith("unknown method 'gpoo' (did you mean 'gpo'?)")
    code, found, error = asked_run("--method", "gpo", "--launcher", "print")
    assert (code, found) == (2, None)
    assert "leave out --json" in error


def test_a_record_is_repeated_and_shown(ask, asked_run, tmp_path):
    record = asked_run("--method", "gpo")[1]["records"][0]["id"]
    places = ["--data-root", tmp_path / "data", "--results", tmp_path / "out" / "results"]
    code, found, error = ask("rerun", record, *places, "--device", "cpu")
    assert code == 0
    assert found == {"record": record, "equal": True, "differing": [], "reasons": []}
    assert "epoch 1/1" in error
    code, found, _ = ask("show", record, "--query", "3", *places)
    assert (code, found["query"], found["answers"][0]["record"]) == (0, 3, record)
    code, found, _ = ask("audit", record, *places)
    assert (code, found["wrong"], found["checked"]) == (0, [], ["1 record"])


def test_a_check_gives_what_is_missing_and_for_whom(ask, tmp_path):
    write_f30k(tmp_path / "data")
    (tmp_path / "data" / "f30k" / "precomp" / "test_ims.npy").unlink()
    code, found, _ = ask("data", "check", "--dataset", "f30k", "--data-root", tmp_path / "data")
    assert (code, found["ok"], found["dataset"]) == (2, False, "f30k")
    assert found["folder"] == str(tmp_path / "data" / "f30k" / "precomp")
    assert any("test_ims.npy" in problem for problem in found["problems"])
    assert all(missing["sentence"] and isinstance(missing["methods"], list) for missing in found["missing"])
    code, found, _ = ask("data", "check", "--dataset", "f30k", "--data-root", tmp_path / "nowhere")
    assert (code, found["folder"]) == (2, None)


def test_what_is_known_is_given_with_types(ask):
    _, methods, _ = ask("list", "methods")
    assert next(entry["variants"] for entry in methods if entry["method"] == "gsmn") == ["dense", "sparse", "full"]
    _, benchmarks, _ = ask("list", "benchmarks")
    assert {"benchmark": "coco-1k", "data set": "coco", "test images": 5000, "folds": 5} in benchmarks
    _, recipe, _ = ask("recipe", "--method", "gpo", "--dataset", "coco", "--set", "optim.lr=3e-4")
    assert (recipe["method"], recipe["variant"], recipe["dataset"]) == ("gpo", "gpo", "coco")
    assert recipe["values"]["optim"]["lr"] == 3e-4
    assert recipe["sources"]["optim.lr"] == "--set"
