"""What a shell is given for a half-written line."""

import pytest
from typer.testing import CliRunner

from itm_harness.benchmarks.commands.app import app
from itm_tests.stores import Store


def completed(line):
    """What bash would offer for the last word of a line."""
    environment = {"_ITM_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    return CliRunner().invoke(app, [], prog_name="itm", env=environment).stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("itm run --method gs", ["gsmn"]),
        ("itm run --method gpo,hr", ["gpo,hrem"]),
        ("itm run --method gsmn --variant ", ["dense", "sparse", "full"]),
        ("itm run --method gsmn,hrem --variant dense,s", ["dense,sparse", "dense,standalone"]),
        ("itm recipe --method nothing --variant ", []),
        ("itm data check --dataset f", ["f30k", "f8k"]),
        ("itm evaluate --benchmark coco-1k", ["coco-1k", "coco-1k-first"]),
        ("itm list b", ["benchmarks"]),
    ],
)
def test_names_are_completed(line, offered):
    assert completed(line) == offered


def test_records_are_those_of_the_results_folder(tmp_path, monkeypatch):
    store = Store()
    gpo, hrem = store.add(), store.add(method="hrem")
    store.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert completed("itm show gpo") == []  # there is no folder results here
    assert completed(f"itm show --results {tmp_path} gpo") == [gpo.id]
    assert completed(f"itm audit --results {tmp_path} {gpo.id} hrem") == [hrem.id]
