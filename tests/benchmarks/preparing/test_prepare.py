"""prepare: files that the readers read, made once, whole or not at all, never over somebody else's."""

import json
import sys

import numpy as np
import pytest

from itm_harness.benchmarks.commands import app as harness
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.datasets.batch import Inputs
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import manifest_path, read_manifest
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import open_split
from itm_harness.datasets.text.graphs import SLOTS
from itm_harness.datasets.text.sentences import EmbeddedEncoder
from itm_tests.trees import write_f30k

IMAGES = 12
SPLITS = ("train", "dev", "test")
VSD = Inputs(image_sidecars=("descriptions_star",), text_sidecars=("caption_vectors", "caption_vectors_hrem"))
VSSR = Inputs(
    image_sidecars=("factual_descriptions",),
    text_sidecars=("factual_captions", "factual_entities", "factual_relations"),
)

BOTH = Inputs(regions=False, image_sidecars=VSD.image_sidecars, text_sidecars=(*VSD.text_sidecars, *VSSR.text_sidecars))


@pytest.fixture
def root(tmp_path):
    """f30k with descriptions and scene graphs, but without vectors."""
    folder = write_f30k(tmp_path, IMAGES)
    for split in SPLITS:
        captions = lines(folder / f"{split}_caps.txt")
        descriptions = [f"a photo of {caption}" for caption in captions[::5]]
        (folder / f"{split}_descriptions.txt").write_text("\n".join(descriptions) + "\n")
        (folder / f"{split}_graphs.json").write_text(json.dumps([graph(caption) for caption in captions]))
    return tmp_path


@pytest.fixture
def folder(root):
    return root / "f30k" / "precomp"


@pytest.fixture
def make(root, quiet):
    """Run prepare: what it wrote, by file name."""

    def call(**options):
        written = prepare(PrepareOptions("f30k", root, **options), quiet)
        return {path.name for path in written}

    return call


def lines(path):
    return path.read_text().splitlines()


def graph(caption):
    """Of "A red dog waits near the beach .": dog is red, near beach; nothing at all of captions about boats."""
    _, adjective, noun, _, near, _, place, _ = caption.split()
    if noun == "boat":
        return {"caption": caption, "entities": [], "relations": []}
    entities = [{"name": noun, "attributes": [adjective]}, {"name": place, "attributes": []}]
    return {"caption": caption, "entities": entities, "relations": [{"subject": 0, "relation": near, "object": 1}]}


def fitted(folder, width):
    encoder = EmbeddedEncoder(width)
    encoder.fit(lines(folder / "train_caps.txt") + lines(folder / "train_descriptions.txt"))
    return encoder


def contents(folder):
    return {path.name: path.read_bytes() for path in (folder / "prepared").iterdir() if path.name[0] != "."}


def test_what_the_readers_read_afterwards(make, root, folder):
    assert len(make(width=24)) == 12
    data = open_dataset("f30k", root)
    assert data.missing(VSD) == data.missing(VSSR) == []
    split = open_split(data, "test", BOTH)
    captions, encoder = lines(folder / "test_caps.txt"), fitted(folder, 24)
    batch = split.pairs(np.arange(60))
    vectors = encoder.encode(captions)
    for name in ("caption_vectors", "caption_vectors_hrem", "factual_captions"):
        np.testing.assert_array_equal(batch.texts.sidecars[name].numpy(), vectors)
    described = encoder.encode(lines(folder / "test_descriptions.txt"))
    np.testing.assert_array_equal(batch.images.sidecars["descriptions_star"].numpy(), np.repeat(described, 5, axis=0))
    graphs = [graph(caption) for caption in captions]
    expected = np.zeros((60, SLOTS, 24), np.float32)
    for row, g in zip(expected, graphs, strict=True):
        texts = [" is ".join([e["name"], *e["attributes"]]) for e in g["entities"]]
        row[: len(texts)] = encoder.encode(texts)
    np.testing.assert_allclose(batch.texts.sidecars["factual_entities"].numpy(), expected, atol=1e-3)  # float16
    related = batch.texts.sidecars["factual_relations"].numpy() != 0
    assert related.sum() == related[:, 0, 1].sum() == sum(bool(g["entities"]) for g in graphs)


def test_test_captions_have_no_part_in_the_fit(make, folder):
    make(what=["sentences"])
    before = contents(folder)
    caps = folder / "test_caps.txt"
    caps.write_text(caps.read_text().replace("dog", "wombat").replace("man", "zebra"))
    written = make(what=["sentences"])
    after = contents(folder)
    assert written == {"test_captions.npy"}
    assert {n for n in before if before[n] != after[n]} == {"test_captions.npy", "test_captions.npy.json"}


def test_a_manifest_says_how_without_saying_where(make, root, folder, tiny_bert):
    make(width=24, splits=["dev"])
    path = folder / "prepared" / "dev_captions.npy"
    manifest = read_manifest(path)
    assert (manifest.encoder, manifest.shape, manifest.dtype, manifest.fitted) == (
        "embedded",
        (60, 24),
        "float32",
        True,
    )
    assert manifest.state == fitted(folder, 24).state
    make(encoder=str(tiny_bert), splits=["dev"])
    told = {name: read_manifest(folder / "prepared" / f"dev_{name}.npy") for name in ("captions", "entities")}
    assert {name: m.label for name, m in told.items()} == {
        "captions": f"{tiny_bert.name} (mean)",
        "entities": f"{tiny_bert.name} (cls)",
    }
    assert told["captions"].shape == (60, 32)
    assert set(told["captions"].libraries) == {"torch", "transformers"}
    assert str(root) not in "".join(p.read_text() for p in (folder / "prepared").glob("*.json"))
    assert str(tiny_bert.parent) not in manifest_path(path).read_text()


def test_a_second_time_nothing_is_made_and_another_width_is_made_anew(make, folder, quiet):
    make()
    before = contents(folder)
    assert make() == set()
    assert "train_captions.npy: already made, 60 x 512, embedded" in quiet.file.getvalue()
    assert contents(folder) == before
    assert len(make(width=24)) == 9  # the relation numbers have no width
    assert len(make(width=24, force=True)) == 12


def test_a_file_of_somebody_elses_is_left_alone(make, folder):
    own = folder / "prepared" / "test_captions.npy"
    own.parent.mkdir()
    np.save(own, np.ones((60, 512), np.float32))
    before = own.read_bytes()
    with pytest.raises(RunError, match=r"test_captions.npy is there, and no manifest .* --force"):
        make()
    assert contents(folder) == {"test_captions.npy": before}
    make(force=True)
    assert read_manifest(own) is not None


def test_a_file_put_in_place_of_a_prepared_one_is_left_alone(make, folder):
    make()
    path = folder / "prepared" / "dev_entities.npy"
    np.save(path, np.ones((60, SLOTS, 512), np.float16))
    with pytest.raises(RunError, match=r"dev_entities.npy is there, and no manifest"):
        make(width=24)


def test_released_files_are_neither_touched_nor_doubled(make, folder, quiet):
    for name in ("train_cap_bge.npy", "train_cap_bge_cpm.npy"):
        np.save(folder / name, np.ones((60, 8), np.float32))
    assert "train_captions.npy" in make(what=["sentences"])  # VSSR's captions have no file yet
    (folder / "factual").mkdir()
    np.save(folder / "factual" / "train_caps_bge_det.npy", np.ones((60, 8), np.float32))
    assert make(what=["sentences"], force=True) == {
        "train_descriptions.npy", "dev_captions.npy", "dev_descriptions.npy", "test_captions.npy",
        "test_descriptions.npy",
    }  # fmt: skip
    assert "prepared/train_captions.npy: not needed, train_cap_bge.npy is there" in quiet.file.getvalue()
    assert (np.load(folder / "train_cap_bge.npy") == 1).all()


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError("no space left")])
def test_a_stop_halfway_leaves_whole_files_alone(make, folder, monkeypatch, fault):
    make(what=["sentences"])
    before = contents(folder)
    encode, calls = EmbeddedEncoder.encode, []

    def stopping(self, texts):
        calls.append(texts)
        if len(calls) > 2:
            raise fault
        return encode(self, texts)

    monkeypatch.setattr(EmbeddedEncoder, "encode", stopping)
    with pytest.raises((KeyboardInterrupt, RunError)):
        make(what=["sentences"], width=24)
    after = contents(folder)
    assert set(after) == set(before)
    changed = {name.removesuffix(".json") for name in before if before[name] != after[name]}
    assert changed == {"train_captions.npy", "train_descriptions.npy"}
    assert all(read_manifest(folder / "prepared" / name) for name in changed)


def test_a_stop_between_file_and_manifest_never_leaves_a_wrong_pair(make, folder, monkeypatch):
    make(what=["sentences"], splits=["dev"])
    import itm_harness.benchmarks.preparing.part_file as module

    renames = []

    def commit(staged, path):
        renames.append(path)
        if len(renames) == 2:
            raise KeyboardInterrupt
        staged.replace(path)

    monkeypatch.setattr(module, "commit", commit)
    with pytest.raises(KeyboardInterrupt):
        make(what=["sentences"], splits=["dev"], width=24)
    assert not (folder / "prepared" / "dev_captions.npy").exists()
    assert read_manifest(folder / "prepared" / "dev_descriptions.npy")
    monkeypatch.undo()
    assert "dev_captions.npy" in make(what=["sentences"], splits=["dev"], width=24)


def test_numbers_that_are_not_finite_are_not_written(make, folder, monkeypatch):
    monkeypatch.setattr(EmbeddedEncoder, "encode", lambda self, texts: np.full((len(texts), 512), np.nan, np.float32))
    with pytest.raises(DataError, match=r"train_captions.npy is not written: encoder embedded .* not finite"):
        make(what=["sentences"])
    assert contents(folder) == {}


def test_a_second_set_of_descriptions_is_made_where_there_is_one_and_may_be_per_caption(make, root, folder):
    captions = lines(folder / "train_caps.txt")
    (folder / "train_descriptions_dagger.txt").write_text("\n".join(captions) + "\n")
    assert "train_descriptions_dagger.npy" in make(what=["sentences"], splits=["train"])
    inputs = Inputs(regions=False, image_sidecars=("descriptions_dagger",), text_sidecars=("caption_vectors",))
    split = open_split(open_dataset("f30k", root), "train", inputs)
    batch = split.pairs([3, 17])
    np.testing.assert_array_equal(
        batch.images.sidecars["descriptions_dagger"].numpy(), batch.texts.sidecars["caption_vectors"].numpy()
    )


def test_missing_texts_are_all_told_before_anything_is_made(make, folder):
    (folder / "dev_descriptions.txt").unlink()
    (folder / "test_graphs.json").unlink()
    with pytest.raises(DataError) as error:
        make()
    first, second = str(error.value).splitlines()
    assert "dev_descriptions.txt is missing: descriptions of the images, one a line" in first
    assert "test_graphs.json is missing: scene graphs" in second
    assert not (folder / "prepared").exists()
    assert make(what=["graphs"], splits=["train"]) == {"train_entities.npy", "train_relations.npy"}


def test_too_few_descriptions(make, folder):
    (folder / "train_descriptions.txt").write_text("a dog\n")
    with pytest.raises(DataError, match=r"train_descriptions.txt holds 1 lines, but the split has 12 images and 60"):
        make()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"what": ["sentence"]}, "--what sentence: unknown .did you mean 'sentences'"),
        ({"splits": ["val"]}, "--splits val: unknown.*train, dev, test"),
        (
            {"encoder": "nowhere/bge"},
            "encoder 'nowhere/bge' .BAAI/bge-large-en-v1.5: 1.3 GB. is neither a folder nor .* --encoder FOLDER",
        ),
    ],
)
def test_wrong_words(make, options, words):
    with pytest.raises((RunError, DataError), match=words):
        make(**options)


def test_a_models_width_is_its_own(make, tiny_bert):
    with pytest.raises(RunError, match=r"--dim 24: vectors of .* have 32 numbers; leave --dim out"):
        make(encoder=str(tiny_bert), width=24)


def test_a_data_set_that_does_not_declare_the_files(root, quiet):
    (root / "mine.yaml").write_text("name: mine\nfolder: f30k/precomp\nbenchmarks: [{name: tiny, images: 12}]\n")
    with pytest.raises(DataError, match=r"mine declares no sidecar that reads prepared/\{split\}_captions.npy"):
        prepare(PrepareOptions(str(root / "mine.yaml"), root), quiet)


def test_the_command_line(root, folder, monkeypatch, capsys):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["harness.py", "prepare", "--data-root", str(root), *arguments])
        with pytest.raises(SystemExit) as stop:
            harness.main()
        out = capsys.readouterr()
        return stop.value.code or 0, out.out + out.err

    code, out = command("--dataset", "f30k", "--what", "sentences", "--dim", "24", "--splits", "train,test")
    assert code == 0
    assert "prepared/train_captions.npy: 60 x 24, embedded" in out
    assert {path.name for path in (folder / "prepared").glob("*.npy")} == {
        "train_captions.npy", "train_descriptions.npy", "test_captions.npy", "test_descriptions.npy",
    }  # fmt: skip
    code, out = command("--dataset", "f30k", "--what", "pictures")
    assert code == 2
    assert "--what pictures" in out
    assert "Traceback" not in out
