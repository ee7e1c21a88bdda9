"""prepare --what graphs, graphs included: FactualSceneGraph in a subprocess, or rules; resumed, named in manifests."""

import json
import sys

import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import read_manifest
from itm_tests.models import save_tiny_t5, write_factual_package
from itm_tests.places import ROOT
from itm_tests.trees import write_f30k

IMAGES = 14  # 70 captions: three steps of the parser


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return save_tiny_t5(tmp_path_factory.mktemp("t5") / "tiny-factual")


@pytest.fixture
def folder(tmp_path):
    return write_f30k(tmp_path, IMAGES)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with FactualSceneGraph's interface for the subprocess, and a library named `datasets` that it uses.

    The command is given in the checkout's root, where a folder of that name lies.
    """
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(write_factual_package(tmp_path / "site")))


@pytest.fixture
def make(tmp_path, folder, weights, quiet):
    def call(**options):
        chosen = {"what": ["graphs"], "graph_model": str(weights), "splits": ["train"], "width": 8, **options}
        return {path.name for path in prepare(PrepareOptions("f30k", tmp_path, **chosen), quiet)}

    return call


def graphs(folder):
    return json.loads((folder / "train_graphs.json").read_text())


def test_graphs_of_the_package_then_vectors_and_relations_that_name_it(make, folder, installed, weights):
    assert make() == {"train_graphs.json", "train_entities.npy", "train_relations.npy"}
    captions = (folder / "train_caps.txt").read_text().splitlines()
    for caption, graph in zip(captions, graphs(folder), strict=True):
        _, adjective, noun, _, near, _, place, _ = caption.split()
        assert graph == {
            "caption": caption,
            "entities": [
                {"name": noun, "attributes": sorted([adjective, "zany", "alive"])},
                {"name": place, "attributes": []},
            ],
            "relations": [{"subject": 0, "relation": near, "object": 1}],
        }
    manifest = read_manifest(folder / "train_graphs.json")
    assert (manifest.encoder, manifest.weights) == ("FactualSceneGraph", "tiny-factual")
    assert manifest.libraries["FactualSceneGraph"] == "9.9"
    entities = read_manifest(folder / "prepared" / "train_entities.npy")
    assert entities.label == "embedded of FactualSceneGraph (tiny-factual)"
    assert make() == set()


def test_a_parser_that_fails_halfway_goes_on_and_ends_with_the_same_bytes(make, folder, installed):
    make()
    expected = (folder / "train_graphs.json").read_bytes()
    path = folder / "train_caps.txt"
    captions = path.read_text()
    words = captions.splitlines()
    words[50] = words[50].replace(words[50].split()[3], "explodes")
    path.write_text("\n".join(words) + "\n")
    with pytest.raises(DataError, match=r"FactualSceneGraph does not run in .* .RuntimeError: boom.; .*--graph-python"):
        make()
    assert (folder / "train_graphs.json").read_bytes() == expected
    part = folder / ".train_graphs.json.part"
    assert len(part.read_text().splitlines()) == 32
    path.write_text(captions.replace("explodes", "runs"))  # other captions than those of the part
    make()
    assert (folder / "train_graphs.json").read_bytes() == expected


def test_rules_are_named_in_the_manifest(make, folder):
    make(graph_parser="rules")
    captions = (folder / "train_caps.txt").read_text().splitlines()
    assert graphs(folder)[0]["caption"] == captions[0]
    assert [entity["name"] for entity in graphs(folder)[0]["entities"]] == [captions[0].split()[i] for i in (2, 6)]
    assert read_manifest(folder / "train_graphs.json").label == "part-of-speech rules"
    label = read_manifest(folder / "prepared" / "train_relations.npy").label
    assert label == "relation numbers of part-of-speech rules"


def test_graphs_that_came_with_the_data_are_taken_as_they_are(make, folder):
    count = 5 * IMAGES
    (folder / "train_graphs.json").write_text(json.dumps([{"entities": [], "relations": []}] * count))
    assert make(graph_model="nobody/nothing") == {"train_entities.npy", "train_relations.npy"}
    assert read_manifest(folder / "prepared" / "train_entities.npy").label == "embedded"


def test_train_is_parsed_too_as_it_numbers_the_relations(make):
    assert "train_graphs.json" in make(splits=["dev"], graph_parser="rules")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"graph_parser": "rule"}, RunError, "--graph-parser rule: unknown; use factual or rules"),
        ({"graph_model": "a/b"}, DataError, r"train_graphs.json is missing: .*'a/b' .1 GB. .*--graph-parser rules"),
        ({"graph_python": "nowhere/python"}, DataError, r"--graph-python .*nowhere/python cannot be run: No such file"),
        ({}, DataError, r"FactualSceneGraph does not run in .*ModuleNotFoundError.*python -m venv.*--graph-python"),
    ],
)
def test_what_is_missing_is_one_sentence(make, folder, tmp_path, monkeypatch, options, error, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "factual_scene_graph.py").touch()
    (tmp_path / "empty" / "torch.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "empty"))
    if "graph_python" in options:
        options = {"graph_python": tmp_path / options["graph_python"]}
    with pytest.raises(error, match=words):
        make(**options)
    assert not (folder / "prepared").exists()


def test_without_hanta(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "HanTa.HanoverTagger", None)
    with pytest.raises(DataError, match=r"train_graphs.json is missing: .*HanTa.*pip install hanta"):
        make(graph_parser="rules")
