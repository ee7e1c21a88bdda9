"""A record repeated: equal bit for bit, or what differs and what may be why."""

from dataclasses import replace

import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.opening import Opened, open_record
from itm_harness.benchmarks.records.store import write_record
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.rerun import compare_runs, options_of, rerun
from itm_harness.benchmarks.runs.run import run
from itm_tests.stores import Store
from itm_tests.trees import write_f30k

SMALL = {"embed_size": 16, "train.batch_size": 20, "train.epochs": 2, "text.bert": None, "text.word_dim": 8}


@pytest.fixture
def first(tmp_path, accelerator, quiet):
    write_f30k(tmp_path / "data")
    options = RunOptions("gpo", "f30k", tmp_path / "data", "mean", SMALL, limit=10, output=tmp_path, deterministic=True)
    (record,) = run(options, [3], accelerator, quiet)
    return open_record(record.id, tmp_path / "results" / "local")


def repeated(first, tmp_path, accelerator, quiet):
    options = options_of(first.record, tmp_path / "data", tmp_path / "again")
    return rerun(options, first, accelerator, quiet)


def test_a_record_repeats_bit_for_bit(first, tmp_path, accelerator, quiet):
    second, found = repeated(first, tmp_path, accelerator, quiet)
    assert found.equal, found
    assert found.lines("x") == ["x: equal bit for bit: metrics, history, ranks, top ten and their scores"]
    assert second.record.id == first.record.id
    assert second.record.command == first.record.command
    assert (tmp_path / "again" / "results" / "local" / "records").is_dir()


def test_what_an_older_record_did_not_note_does_not_differ(first, tmp_path, accelerator, quiet):
    record = first.record
    older = Opened(
        record.model_copy(
            update={
                "history": tuple(epoch.model_copy(update={"dev_recalls": None}) for epoch in record.history),
                "hardware": record.hardware.model_copy(update={"threads": None, "instructions": ""}),
                "code_hash": "other",
            }
        ),
        first.details,
    )
    assert compare_runs(older, first).equal
    changed = Opened(older.record.model_copy(update={"steps": 1}), first.details)
    assert compare_runs(changed, first).reasons == [
        f"the code behind the numbers has changed since revision {record.code.commit[:12]}"
    ]
    assert not compare_runs(first, older).equal


def test_other_data_are_named(first, tmp_path, accelerator, quiet):
    path = tmp_path / "data" / "f30k" / "precomp" / "train_caps.txt"
    path.write_text(path.read_text().replace("near", "by", 30))
    _, found = repeated(first, tmp_path, accelerator, quiet)
    assert any(line.startswith("history.0.loss: ") for line in found.differing)
    assert found.reasons == ["the data are other ones: train captions, train tokens"]


def test_a_recipe_of_before_is_what_is_repeated(first, tmp_path):
    older = {**first.record.recipe, "optim": {**first.record.recipe["optim"], "lr": 0.125}}
    record = first.record.model_copy(update={"recipe": older})
    options = options_of(record, tmp_path / "data", tmp_path)
    assert options.overrides == {**SMALL, "optim.lr": 0.125}
    assert (options.variant, options.limit, options.deterministic) == ("mean", 10, True)


def test_what_differs_and_why_is_told(first):
    record, (details,) = first.record, first.details.values()
    other = Opened(
        record.model_copy(
            update={
                "code_hash": "other",
                "versions": {**record.versions, "torch": "9.9"},
                "hardware": record.hardware.model_copy(update={"device": "H200"}),
                "selected_epoch": 0 if record.selected_epoch else 1,
            }
        ),
        {name: replace(details, i2t_ranks=details.i2t_ranks + 1) for name in first.details},
    )
    found = compare_runs(first, other)
    assert [d.split(":")[0] for d in found.differing] == ["selected_epoch", "f30k-1k"]
    assert found.differing[1] == "f30k-1k: i2t_ranks of 10 of 10 queries"
    assert "the code behind the numbers has changed" in found.reasons[0]
    assert found.reasons[1:] == [
        f"torch {record.versions['torch']} then, 9.9 now",
        "device: CPU then, H200 now",
    ]
    assert found.lines("x")[-1] == "may be why: device: CPU then, H200 now"
    assert compare_runs(first, first).equal


def test_commands_of_older_records_are_understood(first, tmp_path):
    """They began with `python harness.py`."""
    command = first.record.command
    assert command.startswith("itm run --method gpo ")
    older = first.record.model_copy(update={"command": command.replace("itm", "python harness.py", 1)})
    assert options_of(older, tmp_path / "data", tmp_path) == options_of(first.record, tmp_path / "data", tmp_path)


@pytest.mark.parametrize("command", ["python harness.py ensemble a b", "itm ensemble a b", "itm", ""])
def test_what_run_did_not_make_is_refused(command, tmp_path):
    store = Store()
    store.add(command=command, flags=["imported"] if not command else [])
    (path,) = (write_record(r, store.details[r.id], tmp_path) for r in store.records)
    with pytest.raises(RunError, match="repeat the command that made it"):
        options_of(open_record(str(path), tmp_path).record, None, tmp_path)
