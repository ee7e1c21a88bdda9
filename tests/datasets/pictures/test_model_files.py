"""Where models are looked for, and what tells one from another."""

from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace

import pytest

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.pictures.model_files import Models, cached_revision, files_print, revision, within_reach

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return Models(tmp_path / "data")


def place(folder, text="{}"):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(text)
    return folder


@pytest.fixture
def cached(tmp_path):
    """A folder of org/model in the hub's cache that holds its configuration alone."""
    refs = tmp_path / "hub" / "models--org--model" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text(COMMIT)
    return place(refs.parent / "snapshots" / COMMIT)


def test_a_folder_then_one_beside_the_data_then_the_hubs_cache(models, cached, tmp_path):
    assert models.folder("org/other") is None
    (cached / "model.safetensors").touch()
    assert models.folder("org/model") == cached
    beside = place(tmp_path / "data" / "model")
    assert models.folder("org/model") == beside
    own = place(tmp_path / "own")
    assert models.folder(str(own)) == own
    assert models.folder(str(tmp_path / "nothing")) is None


def test_a_missing_model_is_told_with_its_size_and_its_place(models, tmp_path):
    with pytest.raises(DataError) as error:
        models.require("org/model", "the encoder", "1.3 GB", "--encoder", "or do without")
    sentence = str(error.value)
    assert "the encoder 'org/model' (1.3 GB) is neither a folder nor in the hub's cache" in sentence
    assert f"put its files at {tmp_path / 'data' / 'model'}, or name their folder with --encoder FOLDER" in sentence
    assert sentence.endswith("; or do without.")


def test_a_download_that_was_stopped_is_not_taken_for_a_model(models, cached):
    assert models.folder("org/model") is None  # a configuration alone
    (cached / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    )
    (cached / "model-1.safetensors").touch()
    assert models.folder("org/model") is None
    (cached / "model-2.safetensors").touch()
    assert models.folder("org/model") == cached
    for path in cached.glob("model*"):
        path.unlink()
    (cached / "pytorch_model.bin").symlink_to(cached / "nothing")  # its blob is not there
    assert models.folder("org/model") is None


class Hub:
    """The hub's client in place: it has `files`, and keeps which patterns are downloaded."""

    def __init__(self, monkeypatch, files):
        self.files, self.patterns = files, None
        monkeypatch.setattr("huggingface_hub.HfApi", lambda: self)
        monkeypatch.setattr("huggingface_hub.snapshot_download", self.download)

    def model_info(self, name, timeout):
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in self.files])

    def download(self, name, allow_patterns):
        self.patterns = allow_patterns
        return "folder"

    def taken(self):
        return [name for name in self.files if any(fnmatch(name, pattern) for pattern in self.patterns)]


@pytest.mark.parametrize(
    ("files", "weights"),
    [
        (["config.json", "model.safetensors", "pytorch_model.bin", "model.onnx"], "model.safetensors"),
        (["config.json", "pytorch_model.bin", "tf_model.h5", "code.py"], "pytorch_model.bin"),
    ],
)
def test_of_the_weights_those_are_downloaded_that_can_hold_no_code_where_there_are_such(
    models, cached, monkeypatch, files, weights
):
    hub = Hub(monkeypatch, files)
    assert models.require("org/model", "the encoder", "1 GB", "--encoder") == Path("folder")
    assert hub.taken() == ["config.json", weights]


def test_a_network_that_fails_in_whatever_way_is_one_sentence_and_nothing_is_downloaded(models, monkeypatch):
    class ConnectError(Exception):  # of httpx, which is no OSError
        pass

    def fail(*_, **options):
        assert options["timeout"] <= 10
        raise ConnectError("[Errno -2]\nName or service not known")

    hub = Hub(monkeypatch, [])
    hub.model_info = fail
    with pytest.raises(DataError, match=r"cannot be downloaded \(\[Errno -2\] Name or service not known\); get it on"):
        models.require("org/model", "the encoder", "1 GB", "--encoder")
    assert hub.patterns is None


def test_a_hub_out_of_reach_is_asked_once_and_not_at_all_for_what_is_cached(models, cached, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub, asked = Hub(monkeypatch, []), []

    def fail(name, timeout):
        asked.append(name)
        raise OSError("no network")

    def offline(repository, files):
        with within_reach(repository, files):
            return constants.HF_HUB_OFFLINE

    assert not offline("org/model", ["a.bin"])  # there is a network
    hub.model_info = fail
    assert offline("org/model", ["a.bin"])
    assert not constants.HF_HUB_OFFLINE
    (cached / "a.bin").touch()
    assert not offline("org/model", ["a.bin"])
    assert not offline("", ["a.bin"])
    assert asked == ["org/model"]


def test_the_commit_of_a_file_in_the_cache(models, cached):
    (cached / "b.bin").touch()
    assert cached_revision("org/model", ["a.bin", "b.bin"]) == COMMIT
    assert cached_revision("org/model", ["a.bin"]) == cached_revision("", ["a.bin"]) == ""


def test_the_revision_where_a_folder_tells_it(tmp_path):
    assert revision(place(tmp_path / "models--a--b" / "snapshots" / COMMIT)) == COMMIT
    plain = place(tmp_path / "plain")
    assert revision(plain) == ""
    told = plain / ".cache" / "huggingface" / "download"
    told.mkdir(parents=True)
    (told / "config.json.metadata").write_text(f"{COMMIT}\netag\n1700000000.0\n")
    assert revision(plain) == COMMIT
    (told / "config.json.metadata").write_text("something else")
    assert revision(plain) == ""


def test_the_fingerprint_follows_names_and_contents_and_nothing_hidden(tmp_path):
    first = files_print(place(tmp_path / "a"))
    assert first == files_print(place(tmp_path / "b"))
    place(tmp_path / "b" / ".cache")
    assert first == files_print(tmp_path / "b")
    (tmp_path / "b" / "config.json").write_text("[]")
    assert first != files_print(tmp_path / "b")
    (tmp_path / "a" / "config.json").rename(tmp_path / "a" / "other.json")
    assert first != files_print(tmp_path / "a")
