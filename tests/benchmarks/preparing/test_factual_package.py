"""The real FactualSceneGraph behind the real worker, with a tiny T5: `pytest -m factual`, which needs a package index.

It is not part of a plain run of the tests: the package wants transformers below 5, so both go into a folder of their
own, which stands before this environment's libraries on the path of the worker's Python. torch and nltk are this
environment's; what the package needs for its evaluation alone (sentence-transformers, pandas, …) is left out.
ITM_FACTUAL=FOLDER keeps the folder for the next run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from itm_harness.benchmarks.preparing.factual import FactualParser
from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import read_manifest
from itm_harness.datasets.pictures.model_files import Models
from itm_tests.models import save_tiny_t5
from itm_tests.trees import write_f30k

pytestmark = pytest.mark.factual


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """A Python that has the package and transformers below 5: this one, with a folder before its own libraries."""
    folder = Path(os.environ.get("ITM_FACTUAL") or tmp_path_factory.mktemp("factual") / "site").absolute()
    if not (folder / "factual_scene_graph").is_dir():
        for wanted in (["--no-deps", "FactualSceneGraph"], ["transformers<5"]):
            command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), *wanted]
            subprocess.run(command, check=True)
    launcher = tmp_path_factory.mktemp("bin") / "python"
    launcher.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    launcher.chmod(0o755)
    return launcher


def test_the_package_parses_captions(python, tmp_path, quiet):
    folder = write_f30k(tmp_path, 8)  # 40 captions: two steps
    weights = save_tiny_t5(tmp_path / "tiny-factual")
    options = {"graph_model": str(weights), "graph_python": python, "splits": ["train"], "width": 8}
    made = prepare(PrepareOptions("f30k", tmp_path, what=["graphs"], **options), quiet)
    assert {path.name for path in made} == {"train_graphs.json", "train_entities.npy", "train_relations.npy"}
    captions = (folder / "train_caps.txt").read_text().splitlines()
    graphs = json.loads((folder / "train_graphs.json").read_text())
    assert [graph["caption"] for graph in graphs] == captions
    assert all(set(graph) == {"caption", "entities", "relations"} for graph in graphs)
    manifest = read_manifest(folder / "train_graphs.json")
    assert manifest.label == "FactualSceneGraph (tiny-factual)"
    assert manifest.libraries["transformers"].startswith("4.")


def test_of_a_bin_file_tensors_are_read_and_no_code_is_run(python, tmp_path):
    weights = save_tiny_t5(tmp_path / "tiny-factual")
    expected = parser(weights, python).graphs(["a red dog ."])
    tensors = load_file(weights / "model.safetensors")
    (weights / "model.safetensors").unlink()
    torch.save(tensors, weights / "pytorch_model.bin")
    assert parser(weights, python).graphs(["a red dog ."]) == expected

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "it ran"),)

    torch.save({**tensors, "more": Hostile()}, weights / "pytorch_model.bin")
    with pytest.raises(DataError, match="FactualSceneGraph does not run"):
        parser(weights, python).graphs(["a red dog ."])
    assert not (tmp_path / "it ran").exists()


def parser(weights: Path, python: Path) -> FactualParser:
    return FactualParser(str(weights), python, Models(weights.parent), None)
