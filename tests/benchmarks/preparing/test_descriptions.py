"""prepare --what descriptions: answers of real model classes with random weights, a line per picture, and texts."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.interrupt import Interrupted, StopRequest
from itm_harness.benchmarks.preparing.describers import Describer, open_describer
from itm_harness.benchmarks.preparing.descriptions import as_text
from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import read_manifest
from itm_harness.datasets.pictures.model_files import Models
from itm_tests.models import save_tiny_gemma
from itm_tests.trees import write_f30k, write_pictures

IMAGES = 9  # three steps of four pictures
STAR, DAGGER = "dev_descriptions.txt", "dev_descriptions_dagger.txt"


@pytest.fixture(scope="module")
def tiny_gemma(tmp_path_factory):
    """Folder of a random Gemma 3 of two layers."""
    return save_tiny_gemma(tmp_path_factory.mktemp("gemma") / "tiny-gemma")


@pytest.fixture
def folder(tmp_path):
    folder = write_f30k(tmp_path, IMAGES)
    write_pictures(folder, "dev")
    return folder


@pytest.fixture
def make(tmp_path, folder, tiny_florence, tiny_llava, quiet):
    def call(**options):
        models = (str(tiny_florence), str(tiny_llava))
        chosen = {"what": ["descriptions"], "describers": models, "splits": ["dev"], **options}
        return {path.name for path in prepare(PrepareOptions("f30k", tmp_path, **chosen), quiet)}

    return call


def answers(folder, name="dev_descriptions"):
    return [json.loads(line) for line in (folder / "prepared" / f"{name}.jsonl").read_text().splitlines()]


def contents(folder):
    """All files that were made, by name."""
    files = [*folder.glob("dev_descriptions*"), *folder.glob("prepared/*")]
    return {path.name: path.read_bytes() for path in files}


def describer(folder, **options):
    return open_describer(str(folder), PrepareOptions("f30k", **options), Models(folder))


def test_a_line_per_picture_and_the_text_made_of_it(make, folder, tiny_florence, tiny_llava):
    assert make() == {"dev_descriptions.jsonl", STAR, "dev_descriptions_dagger.jsonl", DAGGER}
    names = json.loads((folder.parent / "id_mapping.json").read_text())
    for name in ("dev_descriptions", "dev_descriptions_dagger"):
        said = answers(folder, name)
        assert [(line["image"], line["file"]) for line in said] == list(names.items())
        assert (folder / f"{name}.txt").read_text().split("\n") == [*(as_text(line) for line in said), ""]
    assert set(answers(folder)[0]) == {"image", "file", "labels", "boxes"}
    assert any(line["text"] for line in answers(folder, "dev_descriptions_dagger"))
    labels = {name: read_manifest(folder / name).label for name in (STAR, DAGGER)}
    assert labels == {
        STAR: "tiny-florence (<OD>)",
        DAGGER: "tiny-llava (Describe this image in detail.)",
    }
    assert make() == set()


def test_each_answer_is_of_its_own_picture(make, folder, tiny_florence, tiny_llava):
    make()
    pictures = [folder.parent / "images" / line["file"] for line in answers(folder)]
    for path, name in ((tiny_florence, "dev_descriptions"), (tiny_llava, "dev_descriptions_dagger")):
        model = describer(path)
        alone = [model.describe([picture])[0] for picture in pictures]
        told = [{key: value for key, value in line.items() if key in alone[0]} for line in answers(folder, name)]
        assert told == alone
        assert len({json.dumps(line) for line in alone}) > 1


def test_labels_are_those_that_stand_before_boxes(tiny_florence, monkeypatch, tmp_path):
    from transformers import AutoProcessor

    tokenizer = AutoProcessor.from_pretrained(tiny_florence).tokenizer
    box = "<loc_1><loc_2><loc_3><loc_4>"
    said = f"</s><s> red dog{box}{box} boat{box}</s><pad>"
    ids = tokenizer(said, add_special_tokens=False, return_tensors="pt")["input_ids"]
    monkeypatch.setattr(Describer, "_generate", lambda self, inputs, longest, **options: ids)
    folder = write_f30k(tmp_path / "other", 1)
    picture = folder.parent / "images" / write_pictures(folder, "dev")[0]
    (answer,) = describer(tiny_florence).describe([picture])
    assert answer["labels"] == ["red dog", "red dog", "boat"]
    assert as_text(answer) == "red dog, red dog, boat"
    assert len(answer["boxes"]) == 3


def test_a_chat_model_is_asked_through_its_template_and_heard_behind_its_question(tiny_llava, folder, monkeypatch):
    seen = {}

    def generate(self, inputs, longest, **options):
        seen.update(inputs)
        answer = self._loaded[0].tokenizer(" a man runs", add_special_tokens=False, return_tensors="pt")["input_ids"]
        return torch.cat([inputs["input_ids"], answer.expand(len(inputs["input_ids"]), -1)], dim=1)

    monkeypatch.setattr(Describer, "_generate", generate)
    chat = describer(tiny_llava, prompt="the dog")
    pictures = sorted((folder.parent / "images").iterdir())[:2]
    assert chat.describe(pictures) == [{"text": "a man runs"}] * 2
    asked = chat._loaded[0].tokenizer.decode(seen["input_ids"][0])
    assert asked.startswith("<s>")
    assert asked.count("<s>") == 1
    assert asked.count("<image>") == 4  # a picture of 2 x 2 patches
    assert asked.replace("<image>", "").split()[-3:] == ["the", "dog", "ASSISTANT:"]
    assert chat._loaded[0].tokenizer.padding_side == "left"


def test_a_processor_that_wants_the_pictures_of_each_prompt_gets_them(tiny_gemma, folder):
    chat = describer(tiny_gemma, prompt="the dog")
    pictures = sorted((folder.parent / "images").iterdir())[:4]
    together = chat.describe(pictures)
    assert together == [chat.describe([picture])[0] for picture in pictures]
    assert len({answer["text"] for answer in together}) > 1


def test_a_model_that_lacks_layers_or_was_cut_off_describes_nothing(tiny_llava, folder, tmp_path):
    own = Path(shutil.copytree(tiny_llava, tmp_path / "llava"))
    weights = own / "model.safetensors"
    tensors = {name.replace("layers.1.mlp", "layers.5.mlp"): value for name, value in load_file(weights).items()}
    save_file(tensors, weights, {"format": "pt"})
    picture = next((folder.parent / "images").iterdir())
    with pytest.raises(DataError, match=r"llava lacks \d+ tensors of a vision.*layers\.1\.mlp.*--describer"):
        describer(own).describe([picture])
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DataError, match=r"llava does not load as a vision-language model .*--describer"):
        describer(own).describe([picture])


def test_stopped_and_resumed_it_is_the_same_and_no_picture_is_described_twice(make, folder, monkeypatch):
    make()
    expected = contents(folder)
    for name in expected:
        (folder / name).unlink(missing_ok=True)
        (folder / "prepared" / name).unlink(missing_ok=True)
    describe, shown = Describer.describe, []

    def stopping(self, paths):
        if len(shown) == 2:
            shown.append([])
            raise KeyboardInterrupt
        shown.append([path.name for path in paths])
        return describe(self, paths)

    monkeypatch.setattr(Describer, "describe", stopping)
    with pytest.raises(KeyboardInterrupt):
        make()
    assert len((folder / "prepared" / ".dev_descriptions.jsonl.part").read_text().splitlines()) == 8
    make()
    assert contents(folder) == expected
    florence = [name for batch in shown[:4] for name in batch]
    assert len(florence) == len(set(florence)) == IMAGES


def test_a_signal_is_heeded_between_two_steps(make, folder, monkeypatch, quiet):
    describe, stops = Describer.describe, []
    enter = StopRequest.__enter__
    monkeypatch.setattr(StopRequest, "__enter__", lambda self: stops.append(self) or enter(self))

    def asked(self, paths):
        stops[-1].asked = True
        return describe(self, paths)

    monkeypatch.setattr(Describer, "describe", asked)
    with pytest.raises(Interrupted):
        make()
    assert len((folder / "prepared" / ".dev_descriptions.jsonl.part").read_text().splitlines()) == 4
    monkeypatch.undo()
    assert STAR in make()
    assert "prepared/dev_descriptions.jsonl: going on after 4 of 9" in quiet.file.getvalue()


def test_on_the_cpu_the_batch_size_changes_nothing_and_a_question_makes_anew(make, folder):
    make(batch_size=1)
    before = contents(folder)
    assert make(batch_size=3, force=True)
    assert contents(folder) == before
    assert make(task="<DENSE_REGION_CAPTION>") == {"dev_descriptions.jsonl", STAR}
    assert make(task="<DENSE_REGION_CAPTION>", prompt="a dog") == {"dev_descriptions_dagger.jsonl", DAGGER}


def test_what_is_described_is_encoded_in_the_same_call_and_its_vectors_name_the_model(make, tmp_path, folder):
    write_pictures(folder, "train", 1)
    made = make(what=["sentences", "descriptions"], splits=["train"], width=8)
    assert {"train_descriptions.txt", "train_descriptions.npy", "train_descriptions_dagger.npy"} <= made
    label = read_manifest(folder / "prepared" / "train_descriptions_dagger.npy").label
    assert label == "embedded of tiny-llava (Describe this image in detail.)"


def test_texts_of_somebody_else_are_left_alone(make, folder):
    (folder / STAR).write_text("a dog\n" * IMAGES)
    with pytest.raises(RunError, match=rf"{STAR} is there, and no manifest .*--force"):
        make()
    assert (folder / STAR).read_text() == "a dog\n" * IMAGES
    make(force=True)
    assert read_manifest(folder / STAR)


def test_a_picture_that_is_missing_or_broken_is_named(make, folder):
    images = folder.parent / "images"
    (images / "dev_1001.png").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"dev_1001.png cannot be decoded"):
        make()
    (images / "dev_1001.png").unlink()
    with pytest.raises(DataError, match=r"images lacks 1 of the 9 pictures of dev .dev_1001.png."):
        make()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"describers": ["nobody/vlm"]},
            r"'nobody/vlm' .*1.6 GB.* put its files at .*vlm, or name their folder with --",
        ),
        ({"task": "<OCR>"}, r"--task <OCR>: unknown; use <OD> or <DENSE_REGION_CAPTION>"),
    ],
)
def test_what_is_missing_or_unknown_is_one_sentence(make, folder, options, words):
    with pytest.raises(DataError, match=words):
        make(**options)
    assert not (folder / "prepared").exists()


def test_two_models_of_a_kind_and_models_that_are_none(make, tiny_llava, tiny_bert, tmp_path):
    with pytest.raises(DataError, match=r"several would write the same .*dagger.txt"):
        make(describers=[str(tiny_llava), str(tiny_llava)])
    with pytest.raises(DataError, match=r"does not load as a vision-language model .*--describer"):
        make(describers=[str(tiny_bert)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no model of transformers"):
        make(describers=[str(tmp_path / "empty")])


def test_code_that_comes_with_a_model_is_not_run(make, tmp_path):
    folder = tmp_path / "remote"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "minicpmv", "auto_map": {"AutoConfig": "c.C"}}))
    (folder / "c.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(DataError, match=r"needs code of its own is not run"):
        make(describers=[str(folder)])
