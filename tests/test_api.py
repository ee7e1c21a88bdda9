"""The Python API: light to import, the same numbers as the commands, and one sentence for what is wrong."""

import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

import itm_harness as itm
from itm_harness.benchmarks.commands import app as harness
from itm_harness.benchmarks.common.interrupt import Interrupted
from itm_tests.interruptions import interrupt_after
from itm_tests.stores import Store
from itm_tests.trees import write_f30k

SMALL = {"text.bert": None, "embed_size": 32, "text.word_dim": 16, "train.batch_size": 8}


@pytest.fixture(autouse=True)
def _no_accelerator_is_left():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def data(tmp_path):
    write_f30k(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def train(data, tmp_path):
    """A run of two epochs on miniature data."""

    def call(method="gpo", changes=SMALL, **options):
        where = {"data_root": data, "output": tmp_path, "device": "cpu", "quiet": True}
        return itm.run(method, "f30k", set=changes, **{"epochs": 2, **where, **options})

    return call


def best(record, tmp_path):
    return tmp_path / "runs" / record.id / "best.safetensors"


def test_importing_it_imports_nothing_heavy():
    heavy = ("torch", "pandas", "pydantic", "numpy", "transformers", "rich", "yaml", "importlib.metadata")
    code = f"import sys, itm_harness as itm; print([m for m in {heavy} if m in sys.modules], itm.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "[]", done.stdout


def test_every_name_is_there_and_explained():
    for name in itm.__all__:
        assert inspect.getdoc(getattr(itm, name)), name
    assert itm.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute nothing"):
        itm.nothing  # noqa: B018


def test_run_files_what_the_command_files(train, data, tmp_path, monkeypatch, capsys):
    first, second = train(seeds=(0, np.int64(1), 0))
    assert (first.seed, second.seed, len(first.history)) == (0, 1, 2)
    options = ["--data-root", data, "--output", tmp_path / "other", "--device", "cpu", "--epochs", "2", "--seeds", "1"]
    options += [f"--set={key}={json.dumps(value)}" for key, value in SMALL.items()]
    monkeypatch.setattr(sys, "argv", ["itm", "run", "--method", "gpo", "--dataset", "f30k", *map(str, options)])
    with pytest.raises(SystemExit) as stop:
        harness.main()
    assert not stop.value.code
    (told,) = (tmp_path / "other" / "results" / "local" / "records").glob("*.json")
    told = json.loads(told.read_text())
    assert told["metrics"] == second.model_dump(mode="json")["metrics"]
    assert told["command"] == second.command


def test_a_finished_run_is_read_and_a_stopped_one_goes_on(train, monkeypatch):
    interrupt_after(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt, match="everything is saved"):
        train()
    monkeypatch.undo()
    (record,) = train()
    assert train() == [record]
    (again,) = train(fresh=True)
    assert again.created >= record.created
    assert again.metrics == record.metrics
    assert not issubclass(KeyboardInterrupt, Interrupted)


def test_another_precision_may_follow_in_the_same_process(train):
    (short,) = train(precision="bf16", epochs=1)
    (full,) = train(epochs=1)
    assert (short.precision, full.precision) == ("bf16", "fp32")


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [
        ({"method": "gpoo"}, itm.MethodError, "did you mean 'gpo'"),
        ({"changes": {"optim.lrr": 1}}, itm.MethodError, r"optim\.lrr"),
        ({"epochs": 0}, itm.MethodError, r"train\.epochs"),
        ({"data_root": "nowhere"}, itm.DataError, "nowhere"),
        ({"precision": "fp8"}, itm.RunError, "fp8 is not known; use fp32 or bf16"),
        ({"device": "gpu"}, itm.RunError, "use cpu, cuda or cuda:N"),
        ({"seeds": "0,1"}, itm.RunError, "whole numbers"),
        ({"seeds": [0, -1]}, itm.RunError, "seeds 0, -1"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_trained(train, tmp_path, asked, error, says):
    with pytest.raises(error, match=says):
        train(**asked)
    assert not (tmp_path / "runs").exists()


def test_the_identity_is_all_right_in_every_form():
    identity = np.eye(1000).repeat(5, axis=1)
    assert itm.evaluate(identity).rsum == itm.evaluate(torch.from_numpy(identity), benchmark="f30k-1k").rsum == 600
    assert itm.evaluate(np.eye(4)[:, [2, 0, 1, 3]], image_of_text=[2, 0, 1, 3]).rsum == 600


def test_embeddings_are_their_dot_products_and_tensors_are_arrays():
    rng = np.random.default_rng(0)
    images, texts = rng.standard_normal((30, 8)), rng.standard_normal((150, 8))
    whole = itm.evaluate(images @ texts.T)
    assert 0 < whole.rsum < 600
    assert itm.evaluate(images=images, texts=texts, captions_per_image=5) == whole
    assert itm.evaluate(images=torch.from_numpy(images).requires_grad_(), texts=torch.from_numpy(texts)) == whole
    lengths = [np.linalg.norm(side, axis=1, keepdims=True) for side in (images, texts)]
    cosine = itm.evaluate(images=images, texts=texts, cosine=True)
    assert cosine == itm.evaluate((images / lengths[0]) @ (texts / lengths[1]).T)
    assert cosine != whole


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "give similarity, or images and texts"),
        ({"similarity": np.eye(2), "images": np.eye(2), "texts": np.eye(2)}, "one thing"),
        ({"similarity": np.eye(2), "texts": np.eye(2)}, "one thing"),
        ({"images": np.eye(2)}, "images and texts"),
        ({"similarity": np.eye(2), "cosine": True}, "cosine"),
        ({"similarity": np.eye(2), "captions_per_image": 1, "image_of_text": [0, 1]}, "give one of"),
        ({"similarity": np.eye(1000).repeat(5, axis=0), "benchmark": "f30k-1k"}, "it is transposed"),
        ({"similarity": np.eye(10).repeat(5, axis=0)}, "transpose it"),
        ({"similarity": np.full((2, 2), np.nan)}, "NaN or inf in row 0"),
    ],
)
def test_arrays_that_cannot_be_measured(asked, says):
    with pytest.raises(itm.RunError, match=says):
        itm.evaluate(**asked)


def test_encodings_of_a_checkpoint_give_the_metrics_of_its_record(train, data, tmp_path):
    (record,) = train()
    loaded = itm.load_method(best(record, tmp_path))
    assert (loaded.entry.name, loaded.trained_on, loaded.seed) == ("gpo", "f30k", 0)
    assert not loaded.method.training
    images, texts = itm.encode(loaded, "f30k", data_root=data, device="cpu")
    assert (images.shape, texts.shape, images.dtype) == ((12, 32), (60, 32), np.float32)
    assert itm.evaluate(images=images, texts=texts) == record.metrics["f30k-1k"]
    dev, _ = itm.encode(str(best(record, tmp_path)), "f30k", "dev", data_root=data, device="cpu", limit=5)
    assert dev.shape == (5, 32)


def test_encodings_of_variable_length_are_lists(train, data, tmp_path):
    (record,) = train("gsmn", {key: SMALL[key] for key in ("text.bert", "embed_size", "train.batch_size")}, epochs=1)
    images, texts = itm.encode(best(record, tmp_path), "f30k", data_root=data, device="cpu")
    assert [len(rows) for rows in images["regions"]] == [6] * 12
    captions = (data / "f30k" / "precomp" / "test_caps.txt").read_text().splitlines()
    assert [len(rows) for rows in texts["words"]] == [len(caption.split()) + 2 for caption in captions]


def test_an_unknown_checkpoint_says_what_is_missing(tmp_path):
    with pytest.raises(itm.RunError, match="does not exist"):
        itm.load_method(tmp_path / "none.safetensors")
    torch.save({}, tmp_path / "model.pth")
    with pytest.raises(itm.RunError, match="name its method and the data set"):
        itm.load_method(tmp_path / "model.pth")


@pytest.fixture
def results(tmp_path):
    """A results folder: two seeds of gpo, contributed, and a better hrem of one's own."""
    contributed, own = Store(), Store()
    contributed.add(0.4, seed=0)
    contributed.add(0.5, seed=1)
    own.add(0.8, method="hrem")
    contributed.write(tmp_path / "results")
    own.write(tmp_path / "results" / "local")
    return tmp_path / "results"


def test_records_and_leaderboard_are_frames(results):
    records = itm.records(results)
    assert records.groupby("method").i2t_r1.mean().to_dict() == {"gpo": 45, "hrem": 80}
    assert {"id", "benchmark", "rsum", "t2i_median", "seed", "flags", "created"} <= set(records.columns)
    board = itm.leaderboard(str(results)).query("benchmark == 'f8k-1k'").set_index("method")
    assert board.seeds.to_dict() == {"hrem": 1, "gpo": 2}
    assert board.i2t_r1.to_dict() == {"hrem": 80, "gpo": 45}
    assert {"rank", "rsum", "rsum_std", "rsum_low", "marks", "parameters_million"} <= set(board.columns)
    assert "f30k-1k" in set(itm.leaderboard(results, kind="published").benchmark)
    with pytest.raises(itm.RunError, match="does not exist"):
        itm.records(results / "none")


def test_a_damaged_record_is_left_out_with_a_warning(results):
    path = next((results / "local" / "records").glob("*.json"))
    path.write_text("{")
    for frame in (itm.records, itm.leaderboard):
        with pytest.warns(UserWarning, match=path.name):
            assert "hrem" not in set(frame(results).method)


def test_records_are_compared_by_name_or_path(results):
    (benchmark, found), *others = itm.compare("hrem", "gpo-f8k-s0", results, single=True).items()
    assert (benchmark, others) == ("f8k-1k", [])
    frame = found.frame()
    assert frame.difference["i2t R@1"] == pytest.approx(40)
    assert frame.loc["rsum", "low"] < frame.loc["rsum", "difference"] < frame.loc["rsum", "high"]
    assert frame["first"]["rsum"] - frame["second"]["rsum"] == pytest.approx(frame.difference["rsum"])
    (path,) = (results / "local" / "records").glob("*.json")
    assert itm.compare(path, "gpo-f8k-s0", results, single=True)[benchmark].quantities == found.quantities


def test_rows_are_compared_with_all_their_seeds(results):
    found = itm.compare("hrem", "gpo-f8k-s0", results)["f8k-1k"]
    assert found.frame().difference["i2t R@1"] == pytest.approx(80 - 45)
