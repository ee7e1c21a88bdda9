"""The commands of the mission as users type them, on miniature trees with all official file names."""

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from itm_harness.benchmarks.commands.app import app
from itm_tests.models import save_tiny_bert
from itm_tests.trees import write_coco, write_f30k

SMALL = "--epochs 1 --set train.batch_size=16 --device cpu"  # sizes of the trees; all else is the methods' own recipe
FEW = " --set prototypes=8"  # fewer than the training captions


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data, and with BERT under the name that recipes give it."""
    write_f30k(tmp_path / "data", vectors=1024)
    write_coco(tmp_path / "data", vectors=1024)
    save_tiny_bert(tmp_path / "bert-base-uncased")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITM_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("run --method gpo --dataset f30k", ""),
        ("run --method gsmn --dataset f30k", ""),
        ("run --method hrem --dataset f30k", ""),
        ("run --method aahr --dataset f30k", FEW),
        ("run --method aahr --dataset coco", FEW),
        ("run --method vsd --dataset f30k", FEW),
        ("run --method vsd --variant hrem-star --dataset coco", FEW),
        ("run --method vssr --dataset f30k", ""),
        ("run --method vssr --dataset coco", ""),
        ("run --method clip --dataset coco", ""),
    ],
)
def test_a_command_trains_by_its_recipe_and_files_a_record(command: str, more: str, place: Path):
    done = CliRunner().invoke(app, shlex.split(f"{command} {SMALL}{more}"))
    assert done.exit_code == 0, done.output
    (path,) = (place / "results" / "local" / "records").glob("*.json")
    record = json.loads(path.read_text())
    words = shlex.split(command)
    assert (record["method"], record["dataset"]) == (words[2], words[-1])
    assert set(record["metrics"]) == ({"f30k-1k"} if words[-1] == "f30k" else {"coco-1k", "coco-5k"})
    trained = record["steps"] - record["skipped_steps"]
    assert trained == (0 if "clip" in words else 4 if "gsmn" in words else 3)  # gsmn keeps the last, smaller batch
    assert record["recipe_sources"]["train.epochs"] == "--set"
