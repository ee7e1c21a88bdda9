"""Where models are looked for, and what tells one from another."""

import pytest

from datasets.errors import DataError
from datasets.model_files import Models, files_print, revision

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return Models(tmp_path / "data")


def place(folder, text="{}"):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(text)
    return folder


def test_a_folder_then_one_beside_the_data_then_the_hubs_cache(models, tmp_path):
    assert models.folder("org/model") is None
    cached = place(tmp_path / "hub" / "models--org--model" / "snapshots" / COMMIT)
    refs = tmp_path / "hub" / "models--org--model" / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
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
