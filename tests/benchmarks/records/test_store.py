"""The result store: what is written comes back, whole or not at all, and no run overwrites another."""

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from itm_harness.benchmarks.common import atomic
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol.ranks import evaluate_matrix
from itm_harness.benchmarks.records.schema import (
    DETAIL_ARRAYS,
    SCHEMA_VERSION,
    Details,
    Direction,
    Metrics,
    Record,
    RunIdentity,
)
from itm_harness.benchmarks.records.store import (
    read_details,
    read_record,
    read_records,
    record_path,
    scan_records,
    write_record,
)

N_IMAGES, N_TEXTS = 6, 12


def make_details(seed: int = 0) -> Details:
    rng = np.random.default_rng(seed)
    return Details(
        i2t_ranks=rng.integers(0, 12, N_IMAGES),
        t2i_ranks=rng.integers(0, 6, N_TEXTS),
        image_of_text=np.arange(N_TEXTS) // 2,
        i2t_top=rng.integers(0, N_TEXTS, (N_IMAGES, 10)),
        i2t_scores=rng.random((N_IMAGES, 10)),
        t2i_top=rng.integers(0, N_IMAGES, (N_TEXTS, 6)),
        t2i_scores=rng.random((N_TEXTS, 6)),
    )


def make_metrics(details: Details) -> Metrics:
    def direction(ranks: np.ndarray) -> Direction:
        r1, r5, r10 = (100.0 * float((ranks < k).mean()) for k in (1, 5, 10))
        return Direction(r1=r1, r5=r5, r10=r10, median=1 + np.median(ranks) // 1, mean=1 + ranks.mean())

    i2t, t2i = direction(details.i2t_ranks), direction(details.t2i_ranks)
    sizes = {"n_images": len(details.i2t_ranks), "n_texts": len(details.t2i_ranks)}
    return Metrics(i2t=i2t, t2i=t2i, rsum=i2t.total + t2i.total, **sizes)


def make_record(**changes) -> Record:
    values = {
        "method": "gpo",
        "variant": "gpo",
        "dataset": "f8k",
        "text": "BiGRU",
        "features": "CNN region",
        "seed": 0,
        "metrics": {"f8k-1k": make_metrics(make_details())},
        "history": [{"epoch": 0, "loss": 2.5, "lr": 5e-4, "dev_rsum": 211.3}, {"epoch": 1}],
        "selected_epoch": 0,
        "selection": "dev",
        "recipe": {"optim": {"lr": 3e-4, "decay_epochs": (7,), "grad_clip": 2.0}, "phases": {}},
        "data_fingerprint": "0123",
        "code_hash": "4567",
        "versions": {"python": "3.12"},
        "hardware": {"device": "CPU", "cpu": "a processor", "cores": 2},
        "train_seconds": 61.5,
        "total_seconds": 70.0,
        "seconds_per_step": 0.2,
        "first_steps": {"hardest": 7},
        "steps": 100,
        "peak_memory": {"host": 10**9},
        "parameters": 12_345_678,
        "created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    return Record(**{**values, "code": {}, **changes})


def store(folder: Path, **changes) -> Record:
    record = make_record(**changes)
    write_record(record, {name: make_details() for name in record.metrics}, folder)
    return record


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "records").iterdir())


def test_a_record_and_its_details_come_back(tmp_path):
    record, details = make_record(), make_details()
    path = write_record(record, {"f8k-1k": details}, tmp_path)
    assert files(tmp_path) == [f"{record.id}.json", f"{record.id}.npz"]
    assert path == tmp_path / "records" / f"{record.id}.json"
    assert read_records(tmp_path) == [record]
    found = read_details(record, tmp_path)["f8k-1k"]
    for name in DETAIL_ARRAYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(details, name))
        assert getattr(found, name).dtype == (np.float32 if name.endswith("scores") else np.int32)


def test_details_are_stored_by_benchmark(tmp_path):
    folds, whole = make_details(1), make_details(2)
    record = make_record(metrics={"coco-1k": make_metrics(folds), "coco-5k": make_metrics(whole)})
    write_record(record, {"coco-1k": folds, "coco-5k": whole}, tmp_path)
    with np.load(tmp_path / "records" / f"{record.id}.npz") as arrays:
        np.testing.assert_array_equal(arrays["coco-1k/i2t_ranks"], folds.i2t_ranks)
    np.testing.assert_array_equal(read_details(record, tmp_path)["coco-5k"].t2i_top, whole.t2i_top)


def test_the_id_is_readable_and_follows_from_the_run():
    record = make_record()
    assert record.id == f"gpo-f8k-s0-{record.identity[:8]}"
    assert make_record(variant="max", seed=None).id.startswith("gpo-max-f8k-")
    assert make_record(method="../../x y").id.startswith("x_y-gpo-f8k-s0-")
    same = {"total_seconds": 1.0, "code_hash": "new", "hardware": {"device": "GPU", "cpu": "b", "cores": 8}}
    assert make_record(**same).identity == record.identity


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"variant": "max"},
        {"dataset": "demo"},
        {"text": "BERT"},
        {"recipe": {"optim": {"lr": 4e-4}}},
        {"flags": ["extra_pretraining"]},
        {"data_fingerprint": "other"},
        {"weights": "hash", "flags": ["imported"]},
        {"precision": "bf16"},
        {"limit": 10, "flags": ["limited"]},
    ],
)
def test_a_different_run_has_another_identity(change):
    assert make_record(**change).identity != make_record().identity


def test_seeds_share_a_group_and_nothing_else_does():
    assert make_record(seed=1).group_key == make_record().group_key
    assert make_record(recipe={"optim": {"lr": 1e-3}}).group_key != make_record().group_key


def test_identity_survives_the_round_trip_of_infinities_and_tuples(tmp_path):
    record = store(tmp_path, recipe={"optim": {"grad_clip": float("inf"), "decay_epochs": (1, 2)}})
    assert read_records(tmp_path)[0].identity == record.identity


def test_the_same_run_replaces_its_own_record(tmp_path):
    store(tmp_path)
    again = store(tmp_path, total_seconds=99.0)
    assert read_records(tmp_path) == [again]
    assert len(files(tmp_path)) == 2


def test_a_different_run_is_never_overwritten(tmp_path, monkeypatch):
    record = store(tmp_path)
    monkeypatch.setattr(Record, "id", "gpo-f8k-s0-collision")
    record_path(record, tmp_path).write_text(record.model_dump_json())
    with pytest.raises(RunError, match="different run"):
        write_record(make_record(seed=1), {"f8k-1k": make_details()}, tmp_path)
    assert read_record(record_path(record, tmp_path)) == record


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failing_rename_leaves_nothing(tmp_path, monkeypatch, failing):
    calls, real = [], os.replace

    def replace(source, target):
        calls.append(target)
        if len(calls) == failing:
            raise OSError(errno.EIO, "Input/output error")
        real(source, target)

    monkeypatch.setattr(atomic.os, "replace", replace)
    with pytest.raises(RunError, match="Input/output error"):
        store(tmp_path)
    assert files(tmp_path) == []


@pytest.mark.parametrize("failing", [1, 2])
def test_a_full_disk_leaves_nothing_and_keeps_the_older_record(tmp_path, monkeypatch, failing):
    before = store(tmp_path)
    calls, real = [], os.fsync

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    with pytest.raises(RunError, match=r"gpo-f8k-s0-.*No space left on device"):
        store(tmp_path, total_seconds=1.0)
    assert read_records(tmp_path) == [before]
    assert len(files(tmp_path)) == 2
    read_details(before, tmp_path)


def test_ranks_are_in_place_before_the_record_appears(tmp_path, monkeypatch):
    order, real = [], os.replace
    monkeypatch.setattr(atomic.os, "replace", lambda s, t: (order.append(Path(t).suffix), real(s, t)))
    store(tmp_path)
    assert order == [".npz", ".json"]


def test_a_kill_between_the_two_files_of_a_newer_run_leaves_no_old_record(tmp_path, monkeypatch):
    record = store(tmp_path)

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        store(tmp_path, total_seconds=1.0)
    assert read_records(tmp_path) == []
    monkeypatch.undo()
    assert store(tmp_path).id == record.id


def test_an_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "records").write_text("a file, not a folder")
    with pytest.raises(RunError, match="cannot be written"):
        store(tmp_path)


def test_records_are_sorted_and_an_empty_store_is_empty(tmp_path):
    assert read_records(tmp_path) == []
    ids = [store(tmp_path, seed=s).id for s in (2, 0, 1)]
    assert [r.id for r in read_records(tmp_path)] == sorted(ids)
    with pytest.raises(RunError, match="does not exist"):
        read_records(tmp_path / "typo")


def test_a_run_knows_its_place_before_it_begins(tmp_path):
    record = make_record()
    run = RunIdentity(**{name: getattr(record, name) for name in RunIdentity.model_fields})
    assert (run.id, run.identity, run.group_key) == (record.id, record.identity, record.group_key)
    assert record_path(run, tmp_path) == record_path(record, tmp_path)


def test_an_override_is_part_of_the_recipe_and_not_of_the_identity():
    assert make_record(overrides={"optim.lr": 3e-4}).identity == make_record().identity


@pytest.mark.parametrize("content", ["{", "[]", "3", "[" * 100_000, "\x00", '{"schema_version": 2}', "{}"])
def test_a_broken_file_is_named_with_a_remedy(tmp_path, content):
    path = record_path(store(tmp_path), tmp_path)
    path.write_text(content)
    with pytest.raises(RunError, match=path.stem + r"\.json .*(restore|update)"):
        read_records(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"surprise": 1}, {"seed": "zero"}, {"flags": ["unheard_of"]}, {"selection": "test"}, {"limit": 3}, {"steps": -1}],
)
def test_a_record_outside_the_schema_is_named_with_the_key(tmp_path, change):
    path = record_path(store(tmp_path), tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RunError, match="not a valid record"):
        read_records(tmp_path)


def test_a_copy_under_another_name_is_refused(tmp_path):
    path = record_path(store(tmp_path), tmp_path)
    path.with_name("copy.json").write_bytes(path.read_bytes())
    with pytest.raises(RunError, match=r"copy\.json holds the record gpo-f8k.* is a copy of gpo-f8k.*; remove"):
        read_records(tmp_path)


def test_the_same_run_twice_with_other_numbers_is_a_conflict(tmp_path):
    path = record_path(store(tmp_path), tmp_path)
    other = path.with_name("other.json")
    other.write_text(path.read_text().replace('"total_seconds": 70.0', '"total_seconds": 71.0'))
    with pytest.raises(RunError, match=r"other\.json holds the record gpo-f8k.* says otherwise than gpo-f8k.*\.json"):
        read_records(tmp_path)
    path.unlink()
    with pytest.raises(RunError, match=r"other\.json holds the record gpo-f8k.*; rename it and its \.npz"):
        read_records(tmp_path)


def test_a_scan_keeps_what_is_whole_and_names_the_rest(tmp_path):
    whole, cut, old, lost = (store(tmp_path, seed=seed) for seed in range(4))
    record_path(cut, tmp_path).write_text("{")
    path = record_path(old, tmp_path)
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 0'))
    record_path(lost, tmp_path).with_suffix(".npz").unlink()
    found, problems = scan_records(tmp_path)
    ((record, details),) = found
    assert record == whole
    np.testing.assert_array_equal(details["f8k-1k"].i2t_ranks, make_details().i2t_ranks)
    assert len(problems) == 3
    named = {r.id: p for r in (cut, old, lost) for p in problems if r.id in p}
    assert "is not valid JSON" in named[cut.id]
    assert "has schema version 0, this harness reads 1" in named[old.id]
    assert "is missing" in named[lost.id]
    with pytest.raises(RunError, match="does not exist"):
        scan_records(tmp_path / "typo")


def test_of_two_folders_the_first_ones_record_of_a_run_counts(tmp_path):
    both, other = store(tmp_path / "first", total_seconds=1.0), store(tmp_path / "second", seed=1)
    store(tmp_path / "second", total_seconds=2.0)
    folders = (tmp_path / "none", tmp_path / "first", tmp_path / "second")
    assert [record for record, _ in scan_records(*folders)[0]] == read_records(*folders) == [both, other]


def test_an_rsum_that_does_not_add_up_is_refused():
    metrics = make_metrics(make_details()).model_dump()
    with pytest.raises(ValidationError, match="sum of its six recalls"):
        Metrics(**{**metrics, "rsum": metrics["rsum"] + 1})


def test_metrics_take_what_the_protocol_measures():
    similarity = torch.eye(3)
    evaluation = evaluate_matrix(similarity, torch.arange(3))
    metrics = Metrics(i2t=evaluation.i2t, t2i=evaluation.t2i, rsum=evaluation.rsum, n_images=3, n_texts=3)
    assert metrics.i2t == Direction(r1=100, r5=100, r10=100, median=1, mean=1)


def test_details_must_cover_the_metrics(tmp_path):
    with pytest.raises(ValueError, match="benchmark"):
        write_record(make_record(), {"f30k-1k": make_details()}, tmp_path)
    assert read_records(tmp_path) == []


def test_details_refuse_arrays_that_do_not_belong_together():
    arrays = {name: getattr(make_details(), name) for name in DETAIL_ARRAYS}
    for change in (
        {"i2t_scores": arrays["i2t_scores"][:, :5]},
        {"t2i_ranks": arrays["t2i_ranks"][:5]},
        {"i2t_top": arrays["i2t_top"][:, 0], "i2t_scores": arrays["i2t_scores"][:, 0]},
        {"image_of_text": arrays["image_of_text"] + 1},
    ):
        with pytest.raises(ValueError, match=r"shape|outside"):
            Details(**{**arrays, **change})


def test_damaged_details_are_named(tmp_path):
    record = store(tmp_path)
    path = record_path(record, tmp_path).with_suffix(".npz")
    whole = path.read_bytes()
    arrays = dict(np.load(path))
    for damage in (
        lambda: path.write_bytes(whole[: len(whole) // 2]),
        lambda: path.write_bytes(b"junk"),
        lambda: np.savez(path, **{"f8k-1k/i2t_ranks": np.zeros(3, np.int32)}),
        lambda: np.savez(path, **{**arrays, "f8k-1k/i2t_ranks": np.array([object()] * N_IMAGES)}),
        lambda: np.savez(path, **{**arrays, "f8k-1k/i2t_ranks": np.zeros(5, np.int32)}),
        path.unlink,
    ):
        damage()
        with pytest.raises(RunError, match=rf"{path.name} .*restore"):
            read_details(record, tmp_path)


def test_every_field_is_described():
    def undescribed(model) -> list[str]:
        return [name for name, field in model.model_fields.items() if not field.description]

    assert Record.model_fields["schema_version"].default == SCHEMA_VERSION
    assert undescribed(Record) + undescribed(Metrics) + undescribed(Direction) == []
