"""prepare --what dependencies: pairs in GSMN's layout, by a spaCy pipeline in a folder, or by stanza."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.dependencies import pairs
from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.datasets.batch import Inputs
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.check import check_dataset
from itm_harness.datasets.files.manifest import read_manifest
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import open_split
from itm_harness.datasets.text.tokens import split_words
from itm_tests.models import save_tiny_spacy
from itm_tests.trees import write_f30k

GSMN = Inputs(regions=False, image_sidecars=(), text_sidecars=("dependencies",))


@pytest.fixture(scope="module")
def tiny_spacy(tmp_path_factory):
    return save_tiny_spacy(tmp_path_factory.mktemp("spacy") / "tiny")


@pytest.fixture
def root(tmp_path):
    """f30k without dependencies, with a caption that the words of NLTK and spaCy cut differently."""
    folder = write_f30k(tmp_path, 6)
    for split in ("train", "dev", "test"):
        (folder / f"{split}_caps.json").unlink()
    path = folder / "test_caps.txt"
    path.write_text("\n".join(["The dogs cannot run . A man's hat (red) waits .", *path.read_text().split("\n")[1:]]))
    return tmp_path


@pytest.fixture
def folder(root):
    return root / "f30k" / "precomp"


@pytest.fixture
def make(root, quiet, tiny_spacy):
    def call(**options):
        chosen = {"what": ["dependencies"], "dependency_parser": f"spacy:{tiny_spacy}", **options}
        return {path.name for path in prepare(PrepareOptions("f30k", root, **chosen), quiet)}

    return call


def test_pairs_begin_with_the_root_and_number_words_from_1():
    assert pairs([2, 0, 2, 3]) == [[0, 2], [2, 1], [2, 3], [3, 4]]
    assert pairs([0]) == [[0, 1]]
    assert pairs([0, 1, 4, 0]) == [[0, 1], [1, 2], [4, 3]]  # a second sentence


def test_what_spacy_says_of_the_words_that_the_reader_counts(make, root, folder, tiny_spacy):
    import spacy
    from spacy.tokens import Doc

    assert make() == {f"{split}_dependencies.json" for split in ("train", "dev", "test")}
    captions = (folder / "test_caps.txt").read_text().splitlines()
    found = json.loads((folder / "prepared" / "test_dependencies.json").read_text())
    pipeline = spacy.load(tiny_spacy)
    for caption, parsed in zip(captions, found, strict=True):
        words = split_words(caption)
        doc = pipeline(Doc(pipeline.vocab, words=words))
        roots = [word.i + 1 for word in doc if word.head.i == word.i]
        others = [[word.head.i + 1, word.i + 1] for word in doc if word.head.i != word.i]
        assert parsed == [[0, roots[0]], *others]
    assert any(len(parsed) > 3 for parsed in found)  # the parser was taught to attach words
    split = open_split(open_dataset("f30k", root), "test", GSMN)
    rows = split.texts([1]).sidecars["dependencies"].numpy()
    np.testing.assert_array_equal(rows[:, 1:], found[1])


def test_manifest_check_and_a_second_time(make, root, folder, quiet):
    make(splits=["dev"])
    path = folder / "prepared" / "dev_dependencies.json"
    manifest = read_manifest(path)
    assert (manifest.label, manifest.shape, manifest.fitted) == ("spaCy en_tiny 1.2.3", (30,), False)
    assert set(manifest.libraries) == {"spacy"}
    assert make(splits=["dev"]) == set()
    assert "dev_dependencies.json: already made, 30, spaCy en_tiny 1.2.3" in quiet.file.getvalue()
    report = check_dataset("f30k", root)
    told = next(line for line in report.found if line.startswith("dev_dependencies.json"))
    assert told.endswith("pairs (dependency pairs of the captions, made by prepare: spaCy en_tiny 1.2.3)")
    path.write_text(path.read_text().replace("1", "2", 1))
    assert read_manifest(path) is None


def test_released_dependencies_come_first(make, folder, quiet):
    (folder / "dev_caps.json").write_text("[]")
    assert make(splits=["dev"]) == set()
    assert "prepared/dev_dependencies.json: not needed, dev_caps.json is there" in quiet.file.getvalue()


@pytest.mark.parametrize(
    ("parser", "error", "words"),
    [
        ("corenlp:x", RunError, "corenlp:x: write spacy:MODEL"),
        ("spacy", RunError, "spacy: write spacy:MODEL"),
        (
            "spacy:en_core_web_sm",
            DataError,
            r"no model 'en_core_web_sm' .*12 MB.*put its folder .* at .*en_core_web_sm",
        ),
        ("spacy:{root}/f30k", DataError, "no model"),
        ("stanza:somewhere", DataError, "stanza cannot be imported .*pip install stanza"),
    ],
)
def test_a_parser_or_a_model_that_is_missing_is_one_sentence(make, folder, root, monkeypatch, parser, error, words):
    monkeypatch.setitem(sys.modules, "stanza", None)  # as if it were not installed
    with pytest.raises(error, match=words):
        make(dependency_parser=parser.replace("{root}", str(root)))
    assert not (folder / "prepared").exists()


def test_a_pipeline_without_a_parser(make, tmp_path):
    import spacy

    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(DataError, match="has no parser"):
        make(dependency_parser=f"spacy:{tmp_path / 'blank'}")


def test_stanza_is_given_words_and_asked_for_heads(make, folder, monkeypatch, tmp_path):
    calls = []

    class Pipeline:
        lang = "en"

        def __init__(self, lang, dir, **options):
            calls.append((lang, options))
            if not (tmp_path / "models" / "en").is_dir():
                raise FileNotFoundError("resources.json")
            self.dir = dir

        def __call__(self, captions):
            words = [[SimpleNamespace(head=i) for i in range(len(caption))] for caption in captions]
            return SimpleNamespace(sentences=[SimpleNamespace(words=heads) for heads in words])

    stanza = ModuleType("stanza")
    stanza.Pipeline = Pipeline
    monkeypatch.setitem(sys.modules, "stanza", stanza)
    monkeypatch.setattr("itm_harness.benchmarks.preparing.dependency_parsers.metadata.version", lambda name: "1.0")
    asked = {"dependency_parser": f"stanza:{tmp_path / 'models'}", "splits": ["test"]}
    with pytest.raises(DataError, match=r"stanza finds no English models .*600 MB.*--dependency-parser stanza:FOLDER"):
        make(**asked)
    (tmp_path / "models" / "en").mkdir(parents=True)
    make(**asked)
    lang, options = calls[-1]
    assert (lang, options["tokenize_pretokenized"], options["download_method"]) == ("en", True, None)
    first = json.loads((folder / "prepared" / "test_dependencies.json").read_text())[0]
    assert first == [[i, i + 1] for i in range(len(split_words("The dogs cannot run . A man's hat (red) waits .")))]
