"""Every example of --help, as a user copies it into a fresh clone: it runs; where that takes long, it is understood."""

import json
import re
import shlex
import shutil
import sys

import numpy as np
import pytest

from itm_harness.benchmarks.commands import app as harness
from itm_harness.benchmarks.records.opening import find_record
from itm_tests.command_lines import all_commands, parse
from itm_tests.models import save_tiny_bert
from itm_tests.places import ROOT
from itm_tests.trees import write_coco, write_f30k

EXAMPLES = [line.strip() for c in all_commands() for line in (c.epilog or "").splitlines() if line.startswith(" ")]
WIDEST = 78  # columns of a terminal of 80 that typer fills
# What trains, measures, or needs weights or records that no clone has is parsed alone, and so is the report, which
# takes half a minute; but for what these words ask for.
LONG = re.compile(r"itm (ablate|bench|contribute|ensemble|evaluate|export|prepare|report|rerun|study|verify)\b")
QUICK = re.compile(r"--list|--table|--what layout|--similarity|model-card")
NAMED = re.compile(r"\b(?:gpo|gsmn|hrem|vssr)[\w-]*-demo-s\d\b")  # records


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The records that examples name, with others that begin alike, and in DIR what DIR stands for."""
    clone = tmp_path_factory.mktemp("clone")
    records = clone / "results" / "records"
    records.mkdir(parents=True)
    for name in {*NAMED.findall("\n".join(EXAMPLES))} - {"vssr-demo-s0", "hrem-fusion-demo-s0"}:
        for path in (ROOT / "results" / "records").glob(f"{name}-*"):
            shutil.copy(path, records)
    for name in ("vssr-demo-s0", "hrem-fusion-demo-s0"):  # of dozens the shipped recipe's
        path = find_record(name, ROOT / "results")
        for part in (path, path.with_suffix(".npz")):
            shutil.copy(part, records)
    shutil.copytree(ROOT / "results" / "bench", clone / "results" / "bench")
    save_tiny_bert(clone / "bert-base-uncased")
    folder = clone / "DIR"
    write_f30k(folder, vectors=1024)
    write_coco(folder, vectors=1024)
    np.save(folder / "sims.npy", np.eye(1000, dtype=np.float32).repeat(5, axis=1))
    (folder / "captions.csv").write_text("image,caption,split\na.jpg,one dog,train\nb.jpg,a cat,test\n")
    return clone


def runs(example):
    """Is it run, and not only parsed?"""
    return not LONG.match(example) or QUICK.search(example)


@pytest.mark.parametrize("example", [example for example in EXAMPLES if runs(example)])
def test_it_runs_in_a_fresh_clone(example, clone, monkeypatch, capsys):
    monkeypatch.chdir(clone)
    monkeypatch.delenv("ITM_DATA", raising=False)
    words = shlex.split(example)
    monkeypatch.setattr(sys, "argv", [*words, *(["--dry-run"] if words[1] == "run" else [])])
    with pytest.raises(SystemExit) as stop:
        harness.main()
    out, error = capsys.readouterr()
    too_small = "data check" in example and "DIR" in example  # the miniature is no f30k
    assert (stop.value.code or 0) == (2 if too_small else 0), error
    assert not too_small or "expects 1,000" in out
    if "--json" in words:
        json.loads(out)


@pytest.mark.parametrize("example", [example for example in EXAMPLES if not runs(example)])
def test_it_is_understood(example):
    parse(shlex.split(example)[1:])
    for name in NAMED.findall(example):
        assert find_record(name, ROOT / "results").is_file()


@pytest.mark.parametrize("example", EXAMPLES)
def test_it_fits_a_narrow_terminal(example):
    assert example.startswith("itm ")
    assert len(example) <= WIDEST


@pytest.mark.parametrize("columns", ["80", "120"])
def test_help_shows_each_on_a_line_of_its_own(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "argv", ["itm", "run", "-h"])
    with pytest.raises(SystemExit):
        harness.main()
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    of_run = [example for example in EXAMPLES if example.startswith("itm run ") and example in lines]
    assert len(of_run) > 3
    first = lines.index(of_run[0])
    assert lines[first : first + len(of_run)] == of_run


def test_every_command_has_some():
    assert [command.name for command in all_commands() if not command.epilog] == []
