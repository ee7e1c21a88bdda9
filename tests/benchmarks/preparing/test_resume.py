"""Every product on demo's pictures with tiny models: killed anywhere and resumed, prepared twice, the same bytes."""

import signal
import subprocess
import sys

import pytest

from itm_harness.benchmarks.common.interrupt import Interrupted
from itm_harness.benchmarks.preparing.clip import Pictures
from itm_harness.benchmarks.preparing.dependencies import Pairs
from itm_harness.benchmarks.preparing.graphs import Entities, Relations
from itm_harness.benchmarks.preparing.part_file import PartFile
from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.benchmarks.preparing.rule_graphs import RuleParser
from itm_harness.benchmarks.preparing.sentences import Sentences
from itm_harness.datasets.batch import Inputs
from itm_harness.datasets.demo.write import write_demo
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import open_split
from itm_tests.models import save_tiny_spacy

SIZES = {"train": 5, "dev": 2, "test": 3}
READ = {  # of what is made, by the methods that read it
    "aahr": Inputs(image_sidecars=("clip_images",), text_sidecars=("clip_texts",)),
    "gsmn": Inputs(image_sidecars=("boxes",), text_sidecars=("dependencies",)),
    "vsd": Inputs(image_sidecars=("descriptions_star", "descriptions_dagger"), text_sidecars=("caption_vectors",)),
    "vssr": Inputs(
        image_sidecars=("factual_descriptions",),
        text_sidecars=("factual_captions", "factual_entities", "factual_relations"),
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_demo(root, SIZES)
    return root


@pytest.fixture(scope="module")
def tiny_spacy(tmp_path_factory):
    return save_tiny_spacy(tmp_path_factory.mktemp("spacy") / "tiny")


@pytest.fixture
def make(data, tmp_path, monkeypatch, quiet, tiny_bert, tiny_clip, tiny_florence, tiny_llava, tiny_spacy):
    """Prepare everything in a folder, in steps of eight; returns the content of all files there."""
    for content in (Pictures, Sentences, Entities, Relations, Pairs, RuleParser):
        monkeypatch.setattr(content, "step", 8)
    models = {
        "encoder": str(tiny_bert),
        "clip_model": str(tiny_clip[0]),
        "clip_weights": str(tiny_clip[1]),
        "describers": (str(tiny_florence), str(tiny_llava)),
        "graph_parser": "rules",
        "dependency_parser": f"spacy:{tiny_spacy}",
    }

    def call(place, what=("clip", "descriptions", "sentences", "graphs", "dependencies")):
        prepare(PrepareOptions("demo", data, what=what, output=tmp_path / place, **models), quiet)
        return contents(tmp_path / place)

    return call


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_all_products_twice_are_the_same_and_are_read_by_every_method(make, tmp_path):
    first = make("one")
    assert make("two") == first
    dataset = open_dataset("demo", tmp_path / "one")
    for inputs in READ.values():
        assert dataset.missing(inputs, SIZES) == []
        assert len(open_split(dataset, "test", inputs).images([0, 1]).ids) == 2
    assert not [name for name in first if ".part" in name]


def test_stopped_again_and_again_and_resumed_the_bytes_are_the_same(make, monkeypatch):
    """Each call makes a few steps and is stopped within the next one, when a part of it is written."""
    what = ("clip", "sentences", "graphs", "dependencies")
    expected = make("whole", what)
    append = PartFile.append

    def stopping(self, rows):
        if not left[0]:
            self._file.write(self._kind.encoded(rows)[:40])
            raise Interrupted
        left[0] -= 1
        append(self, rows)

    monkeypatch.setattr(PartFile, "append", stopping)
    for steps in (2, 13, 14):
        left = [steps]
        with pytest.raises(Interrupted):
            make("parts", what)
    left = [1000]
    assert make("parts", what) == expected


KILLED = """
import os, signal, sys
from pathlib import Path
from rich.console import Console
from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.benchmarks.preparing.part_file import PartFile
from itm_harness.benchmarks.preparing.rule_graphs import RuleParser

RuleParser.step = 3
append, steps = PartFile.append, []

def killing(self, rows):
    steps.append(rows)
    if len(steps) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    append(self, rows)

PartFile.append = killing
options = PrepareOptions("demo", Path(sys.argv[1]), what=["graphs"], output=Path(sys.argv[2]), graph_parser="rules")
prepare(options, Console())
"""


def test_a_process_that_is_killed_leaves_what_the_next_one_goes_on_with(data, tmp_path, monkeypatch, quiet):
    command = [sys.executable, "-c", KILLED, str(data), str(tmp_path / "parts")]
    killed = subprocess.run(command, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    monkeypatch.setattr(RuleParser, "step", 3)
    for place in ("parts", "whole"):
        prepare(PrepareOptions("demo", data, what=["graphs"], output=tmp_path / place, graph_parser="rules"), quiet)
    assert "train_graphs.json: going on after 12 of 25" in quiet.file.getvalue()
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
