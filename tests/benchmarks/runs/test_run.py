"""The main job on miniature trees with the real file names: recipes, records, resuming, what can go wrong."""

import errno
import hashlib
import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.interrupt import Interrupted
from itm_harness.benchmarks.protocol.version import PROTOCOL_VERSION
from itm_harness.benchmarks.records.store import read_details, read_records
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_harness.benchmarks.training import checkpoint, engine
from itm_harness.methods.registry import find_method
from itm_tests.interruptions import interrupt_after
from itm_tests.trees import write_coco, write_f30k

SIZES = {"embed_size": 32, "train.batch_size": 8, "train.epochs": 3}
BIGRU = {**SIZES, "text.bert": None, "text.word_dim": 16}


def options(root, output, dataset="f30k", **changes):
    return RunOptions("gpo", dataset, data_root=root, output=output, overrides=dict(BIGRU), **changes)


@pytest.fixture
def f30k(tmp_path):
    write_f30k(tmp_path / "data")
    return tmp_path / "data"


METHODS = {  # name: what has to be smaller than in its recipe
    "gpo": {"embed_size": 32},
    "gsmn": {"embed_size": 32},
    "hrem": {"embed_size": 32, "phases.graph.step": 5},  # of 8,000, which 21 steps never reach
}


@pytest.mark.parametrize("dataset", ["f30k", "coco"])
@pytest.mark.parametrize("method", METHODS)
def test_each_method_trains_with_its_own_recipe(method, dataset, tiny_bert, tmp_path, accelerator, quiet):
    write_f30k(tmp_path / "data")
    write_coco(tmp_path / "data")
    overrides = {**METHODS[method], "train.batch_size": 8, "train.epochs": 3}
    job = RunOptions(method, dataset, data_root=tmp_path / "data", output=tmp_path, overrides=overrides)
    if Job(job).recipe.config.text.bert:
        job = replace(job, overrides={**overrides, "text.bert": str(tiny_bert)})
    (record,) = run(job, [0], accelerator, quiet)
    own = Job(replace(job, overrides={})).recipe.values()
    assert (record.recipe["optim"], record.recipe["augment"]) == (own["optim"], own["augment"])
    assert record.selection == "dev"
    assert [e.epoch for e in record.history] == [0, 1, 2]
    assert record.history[record.selected_epoch].dev_rsum == max(e.dev_rsum for e in record.history)
    assert all(sum(e.dev_recalls) == pytest.approx(e.dev_rsum) for e in record.history)
    assert (record.protocol, record.hardware.threads) == (PROTOCOL_VERSION, torch.get_num_threads())
    assert {"os", "blas", "torch"} <= set(record.versions)
    best = tmp_path / "runs" / record.checkpoint.file
    assert record.checkpoint.sha256 == hashlib.sha256(best.read_bytes()).hexdigest()
    assert {m.n_images for m in record.metrics.values()} == {12 if dataset == "f30k" else 20}
    assert "nonstandard_size" in record.flags  # a dozen images are no benchmark
    assert set(record.first_steps) == set(find_method(method).method.phases)  # every phase has run


@pytest.mark.parametrize("method", ["gsmn", "hrem"])
def test_an_ensemble_trains_its_members_and_averages_their_scores(method, f30k, tmp_path, accelerator, quiet):
    overrides = {**METHODS[method], "train.batch_size": 8, "train.epochs": 1, "text.bert": None}
    job = RunOptions(method, "f30k", f30k, "full", overrides, output=tmp_path)
    (record,) = run(job, [0], accelerator, quiet)
    assert "ensemble" in record.flags
    members = [r for r in read_records(tmp_path / "results" / "local") if r.id != record.id]
    assert {r.variant for r in members} == set(find_method(method).method.ensembles["full"])
    assert record.sidecars == (("boxes",) if method == "gsmn" else ())
    assert record.sidecar_sources == dict.fromkeys(record.sidecars, "as supplied")
    assert record.encode_seconds > 0
    assert record.score_seconds > 0
    scores = [read_details(r, tmp_path / "results" / "local")["f30k-1k"] for r in (*members, record)]
    images = torch.arange(12)
    whole = [torch.full((12, 60), torch.nan) for _ in scores]
    for matrix, detail in zip(whole, scores, strict=True):  # the top ten captions of each image are stored
        matrix[images[:, None], torch.tensor(detail.i2t_top).long()] = torch.tensor(detail.i2t_scores)
    known = ~torch.isnan(torch.stack(whole)).any(dim=0)
    assert known.sum() > 0
    assert torch.allclose(whole[2][known], ((whole[0] + whole[1]) / 2)[known], atol=1e-5)


def test_coco_is_measured_as_five_folds_and_as_a_whole(tmp_path, tiny_bert, accelerator, quiet):
    write_coco(tmp_path / "data")
    overrides = {**SIZES, "text.bert": str(tiny_bert)}
    job = RunOptions("gpo", "coco", data_root=tmp_path / "data", output=tmp_path, overrides=overrides)
    (record,) = run(job, [0], accelerator, quiet)
    assert {name: m.folds for name, m in record.metrics.items()} == {"coco-1k": 5, "coco-5k": 1}
    assert record.metrics["coco-5k"].n_images == 20  # testall, not test
    assert record.metrics["coco-1k"].i2t.mean < record.metrics["coco-5k"].i2t.mean  # smaller galleries
    details = read_details(record, tmp_path / "results" / "local")
    assert details["coco-1k"].i2t_ranks.max() < 20  # ranks within folds of 4 images


def test_a_resumed_run_ends_with_the_same_bits(f30k, tmp_path, accelerator, quiet, monkeypatch):
    (whole,) = run(options(f30k, tmp_path / "whole"), [0], accelerator, quiet)
    for stop_at in (3, 6, 8, 5):  # in the middle of epochs and in dev evaluations
        interrupt_after(monkeypatch, stop_at)
        with pytest.raises(Interrupted):
            run(options(f30k, tmp_path / "parts"), [0], accelerator, quiet)
        monkeypatch.undo()
    assert not (tmp_path / "parts" / "results").exists()  # no partial record
    (resumed,) = run(options(f30k, tmp_path / "parts"), [0], accelerator, quiet)
    assert "goes on" in quiet.file.getvalue()
    assert resumed.metrics == whole.metrics
    assert resumed.history == whole.history
    same = [
        read_details(r, tmp_path / where / "results" / "local")["f30k-1k"]
        for r, where in ((whole, "whole"), (resumed, "parts"))
    ]
    assert same[0].i2t_scores.tobytes() == same[1].i2t_scores.tobytes()


def test_a_killed_run_goes_on_from_its_last_epoch(f30k, tmp_path, accelerator, quiet, monkeypatch):
    (whole,) = run(options(f30k, tmp_path / "whole"), [0], accelerator, quiet)

    class Killed(BaseException):
        pass

    def die(self, stop):
        if self.state.epoch == 2:
            raise Killed
        return finish(self, stop)

    finish = engine.Trainer._finish_epoch
    monkeypatch.setattr(engine.Trainer, "_finish_epoch", die)
    with pytest.raises(Killed):
        run(options(f30k, tmp_path / "killed"), [0], accelerator, quiet)
    monkeypatch.undo()
    (resumed,) = run(options(f30k, tmp_path / "killed"), [0], accelerator, quiet)
    assert resumed.metrics == whole.metrics
    assert resumed.history == whole.history


@pytest.mark.parametrize("dies_at", ["checkpoint", "best"])
def test_a_kill_between_the_checkpoint_and_the_selected_model(f30k, tmp_path, accelerator, quiet, monkeypatch, dies_at):
    (whole,) = run(options(f30k, tmp_path / "whole"), [0], accelerator, quiet)

    class Killed(BaseException):
        pass

    def die(*arguments):
        raise Killed

    place = (engine, "save_model") if dies_at == "best" else (engine.TrainingCheckpoints, "save")
    monkeypatch.setattr(*place, die)
    with pytest.raises(Killed):
        run(options(f30k, tmp_path / "killed"), [0], accelerator, quiet)
    monkeypatch.undo()
    (folder,) = (tmp_path / "killed" / "runs").iterdir()
    assert not (folder / checkpoint.BEST).exists()  # never of steps that no checkpoint holds
    (resumed,) = run(options(f30k, tmp_path / "killed"), [0], accelerator, quiet)
    assert (resumed.metrics, resumed.selected_epoch) == (whole.metrics, whole.selected_epoch)
    models = [load_file(f / checkpoint.BEST) for f in (folder, tmp_path / "whole" / "runs" / whole.id)]
    assert all(torch.equal(models[0][name], value) for name, value in models[1].items())


def test_no_space_left_in_the_middle_of_a_checkpoint_leaves_the_one_before(
    f30k, tmp_path, accelerator, quiet, monkeypatch
):
    save_file, names = checkpoint.save_file, []

    def full(tensors, path, metadata=None):
        names.append(path.name)
        if names.count("optimizer.safetensors") == 2:
            path.write_bytes(b"half")
            raise SafetensorError("I/O error: No space left on device (os error 28)")
        save_file(tensors, path, metadata)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(RunError, match=r"step-00000014 cannot be written .*No space left.*free some space"):
        run(options(f30k, tmp_path), [0], accelerator, quiet)
    assert [p.name for p in tmp_path.glob("runs/*/checkpoints/*")] == ["step-00000007"]
    monkeypatch.undo()
    (resumed,) = run(options(f30k, tmp_path), [0], accelerator, quiet)
    assert "goes on at epoch 2" in quiet.file.getvalue()
    (whole,) = run(options(f30k, tmp_path / "whole"), [0], accelerator, quiet)
    assert (resumed.metrics, resumed.history) == (whole.metrics, whole.history)


def test_a_finished_run_is_not_run_again_unless_asked(f30k, tmp_path, accelerator, quiet):
    (first,) = run(options(f30k, tmp_path), [0], accelerator, quiet)
    (second,) = run(options(f30k, tmp_path), [0], accelerator, quiet)
    assert "already done" in quiet.file.getvalue()
    assert second == first
    shutil.rmtree(tmp_path / "runs")  # a record that came with the clone: the run itself was made elsewhere
    steps = len(quiet.file.getvalue().splitlines())
    run(options(f30k, tmp_path), [0], accelerator, quiet)
    assert "epoch 3/3" in "".join(quiet.file.getvalue().splitlines()[steps:])
    (third,) = run(options(f30k, tmp_path, fresh=True), [0], accelerator, quiet)
    assert third.metrics == first.metrics
    assert third.created >= first.created
    assert len(read_records(tmp_path / "results" / "local")) == 1


def test_a_stopped_run_is_not_done_though_its_record_came_with_the_clone(
    f30k, tmp_path, accelerator, quiet, monkeypatch
):
    run(options(f30k, tmp_path), [0], accelerator, quiet)
    shutil.rmtree(tmp_path / "runs")
    interrupt_after(monkeypatch, 15)
    with pytest.raises(Interrupted):
        run(options(f30k, tmp_path), [0], accelerator, quiet)
    monkeypatch.undo()
    run(options(f30k, tmp_path), [0], accelerator, quiet)
    assert "goes on at epoch" in quiet.file.getvalue()
    assert "already done" not in quiet.file.getvalue()


def test_changed_code_starts_over_instead_of_mixing(f30k, tmp_path, accelerator, quiet, monkeypatch):
    interrupt_after(monkeypatch, 9)
    with pytest.raises(Interrupted):
        run(options(f30k, tmp_path), [0], accelerator, quiet)
    monkeypatch.undo()
    monkeypatch.setattr("itm_harness.benchmarks.runs.job.method_code_hash", lambda files: "another")
    (record,) = run(options(f30k, tmp_path), [0], accelerator, quiet)
    assert "starting over" in quiet.file.getvalue()
    assert record.code_hash == "another"


def test_tensorboard_gets_losses_and_dev_rsum(f30k, tmp_path, accelerator, quiet):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (record,) = run(options(f30k, tmp_path, tensorboard=True), [0], accelerator, quiet)
    (folder,) = tmp_path.glob("runs/*/tensorboard")
    events = EventAccumulator(str(folder)).Reload()
    logged = [event.value for event in events.Scalars("dev/rsum")]
    assert logged == pytest.approx([e.dev_rsum for e in record.history], rel=1e-5)
    assert "loss/total" in events.Tags()["scalars"]


def test_seeds_are_runs_of_one_row(f30k, tmp_path, accelerator, quiet):
    records = run(options(f30k, tmp_path), [0, 1], accelerator, quiet)
    assert records[0].group_key == records[1].group_key
    assert records[0].id != records[1].id
    assert records[0].history != records[1].history


def test_the_test_files_of_coco_are_a_benchmark_of_their_own(tmp_path, accelerator, quiet):
    write_coco(tmp_path / "data")
    (record,) = run(options(tmp_path / "data", tmp_path, "coco-test"), [0], accelerator, quiet)
    assert set(record.metrics) == {"coco-1k-first"}
    assert record.metrics["coco-1k-first"].n_images == 5
    assert record.dataset == "coco"


def test_a_limit_is_a_smoke_run(f30k, tmp_path, accelerator, quiet):
    (record,) = run(options(f30k, tmp_path, limit=4), [0], accelerator, quiet)
    assert record.metrics["f30k-1k"].n_images == 4
    assert {"limited", "nonstandard_size"} <= set(record.flags)


def test_a_limit_that_folds_do_not_divide_leaves_their_benchmark_out(tmp_path, accelerator, quiet):
    write_coco(tmp_path / "data")
    (record,) = run(options(tmp_path / "data", tmp_path, "coco", limit=12), [0], accelerator, quiet)
    assert set(record.metrics) == {"coco-5k"}


def test_the_command_of_a_record_repeats_it(f30k, tmp_path, accelerator, quiet):
    job = replace(options(f30k, tmp_path, limit=6), variant="vsepp")
    (record,) = run(job, [3], accelerator, quiet)
    assert record.command.startswith("itm run --method gpo --dataset f30k --variant vsepp --set ")
    assert "--set text.bert=null" in record.command
    assert record.command.endswith("--limit 6 --seeds 3")


def test_bf16_on_the_cpu_stays_finite_for_twenty_steps(f30k, tmp_path, quiet):
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = engine.make_accelerator("cpu", "bf16")
    overrides = {**BIGRU, "train.batch_size": 6, "train.epochs": 2}
    (record,) = run(replace(options(f30k, tmp_path, precision="bf16"), overrides=overrides), [0], accelerator, quiet)
    AcceleratorState._reset_state(reset_partial_state=True)
    assert record.precision == "bf16"
    assert record.steps == 20
    assert record.skipped_steps == 0
    assert all(e.loss == e.loss and e.loss > 0 for e in record.history)


NOT_FINITE = """
import torch
from itm_harness.methods.gpo import GPO
from itm_harness.methods.registry import register

@register("breaks")
class Breaks(GPO):
    def objective(self, features, ids, progress):
        terms = super().objective(features, ids, progress)
        if progress.step == 2:
            terms["total"] = terms["total"] * torch.nan
        if progress.step == 4:  # a finite loss with a gradient that is not
            terms["total"] = terms["total"] + (features["image"].sum() * 0).sqrt()
        return terms
"""


def test_steps_that_are_not_finite_are_skipped_and_counted(f30k, tmp_path, accelerator, quiet):
    (tmp_path / "breaks.py").write_text(NOT_FINITE)
    job = replace(options(f30k, tmp_path), method=str(tmp_path / "breaks.py"))
    (record,) = run(job, [0], accelerator, quiet)
    assert record.skipped_steps == 2
    assert all(torch.isfinite(torch.tensor(e.loss)) for e in record.history)
    assert record.metrics["f30k-1k"].rsum > 0


def test_no_space_left_is_a_sentence_and_leaves_no_record(f30k, tmp_path, accelerator, quiet, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(RunError, match=r"cannot be written .*No space left.*--output"):
        run(options(f30k, tmp_path), [0], accelerator, quiet)
    assert not (tmp_path / "results").exists()
    assert not list(tmp_path.rglob("*.part"))


def test_a_corrupt_checkpoint_is_named_with_its_remedy(f30k, tmp_path, accelerator, quiet, monkeypatch):
    interrupt_after(monkeypatch, 9)
    with pytest.raises(Interrupted):
        run(options(f30k, tmp_path), [0], accelerator, quiet)
    monkeypatch.undo()
    newest = sorted(tmp_path.glob("runs/*/checkpoints/step-*"))[-1]
    for name, content in (("model.safetensors", b"nothing"), ("state.json", b"{")):
        before = (newest / name).read_bytes()
        (newest / name).write_bytes(content)
        with pytest.raises(RunError, match=rf"{name} is corrupt.*--fresh"):
            run(options(f30k, tmp_path), [0], accelerator, quiet)
        (newest / name).write_bytes(before)
    run(options(f30k, tmp_path, fresh=True), [0], accelerator, quiet)


def test_only_the_newest_two_checkpoints_are_kept(f30k, tmp_path, accelerator, quiet):
    run(options(f30k, tmp_path), [0], accelerator, quiet)
    kept = sorted(p.name for p in tmp_path.glob("runs/*/checkpoints/*"))
    assert kept == ["step-00000014", "step-00000021"]


def test_two_runs_at_once_do_not_share_a_folder(f30k, tmp_path, accelerator, quiet):
    from itm_harness.benchmarks.runs.run import _locked

    folder = tmp_path / "runs" / Job(options(f30k, tmp_path)).identity(0).id
    with _locked(folder), pytest.raises(RunError, match="in use"):
        run(options(f30k, tmp_path), [0], accelerator, quiet)


def test_a_training_split_smaller_than_a_batch_is_refused(f30k, tmp_path, accelerator, quiet):
    job = replace(options(f30k, tmp_path), overrides={**BIGRU, "train.batch_size": 128})
    with pytest.raises(RunError, match=r"60 captions, fewer than one batch of 128.*train.batch_size"):
        run(job, [0], accelerator, quiet)


def test_the_last_epoch_needs_no_dev_split(f30k, tmp_path, accelerator, quiet):
    for path in (f30k / "f30k" / "precomp").glob("dev_*"):
        path.unlink()
    job = replace(options(f30k, tmp_path), overrides={**BIGRU, "train.select": "last"})
    (record,) = run(job, [0], accelerator, quiet)
    assert (record.selection, record.selected_epoch) == ("last", 2)


def test_the_record_is_json_without_machine_paths(f30k, tiny_bert, tmp_path, accelerator, quiet):
    job = replace(options(f30k, tmp_path), overrides={**SIZES, "train.epochs": 1, "text.bert": str(tiny_bert)})
    (record,) = run(job, [0], accelerator, quiet)
    text = (tmp_path / "results" / "local" / "records" / f"{record.id}.json").read_text()
    assert str(tmp_path) not in text
    assert str(tiny_bert.parent) not in text
    assert record.recipe["text"]["bert"] == record.overrides["text.bert"] == tiny_bert.name
    assert json.loads(text)["seed"] == 0
