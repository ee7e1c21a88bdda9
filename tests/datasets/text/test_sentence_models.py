"""Sentence vectors of a transformers model: pooling by hand, one text at a time; a model that is not there."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.text.sentence_models import TransformersEncoder
from itm_tests.models import save_tiny_t5

TEXTS = ["a red dog near the house .", "the man", "a wet boat stands near the beach . a girl waits ."]


@pytest.fixture
def words(tiny_bert):
    """The last hidden states of one text, without padding."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(tiny_bert), AutoModel.from_pretrained(tiny_bert).eval()

    def call(text):
        with torch.no_grad():
            return model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()

    return call


def test_sentences_are_means_over_their_own_tokens_of_length_1(tiny_bert, words):
    means = np.stack([words(text).mean(axis=0) for text in TEXTS])
    expected = means / np.linalg.norm(means, axis=1, keepdims=True)
    encoder = TransformersEncoder(tiny_bert)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)
    assert (encoder.width, encoder.pooling, encoder.fitted) == (32, "mean", False)


def test_entities_are_the_first_token_as_it_is(tiny_bert, words):
    encoder = TransformersEncoder(tiny_bert).for_entities()
    np.testing.assert_allclose(encoder.encode(TEXTS), np.stack([words(text)[0] for text in TEXTS]), atol=1e-5)
    assert encoder.pooling == "cls"


def test_a_text_that_is_too_long_for_the_model_is_cut(tiny_bert):
    encoder = TransformersEncoder(tiny_bert)
    (vector,) = encoder.encode(["dog " * 100])
    np.testing.assert_allclose(vector, encoder.encode(["dog " * 30])[0], atol=1e-6)  # 32 positions, [CLS] and [SEP]


def test_the_name_holds_no_path_and_the_state_follows_the_weights(tiny_bert, tmp_path):
    from transformers import AutoModel, AutoTokenizer

    encoder = TransformersEncoder(tiny_bert)
    assert encoder.name == tiny_bert.name
    assert encoder.state == TransformersEncoder(tiny_bert).state
    assert encoder.state != encoder.for_entities().state
    assert set(encoder.libraries) == {"torch", "transformers"}
    model = AutoModel.from_pretrained(tiny_bert)
    torch.nn.init.zeros_(model.embeddings.word_embeddings.weight[3])
    model.save_pretrained(tmp_path / "other")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path / "other")
    assert TransformersEncoder(tmp_path / "other").state != encoder.state


def copied(folder, place):
    return Path(shutil.copytree(folder, place))


def refused(folder):
    with pytest.raises(DataError) as error:
        _ = TransformersEncoder(folder).width
    assert str(error.value).endswith("name another folder with --encoder, or use --encoder embedded.")
    return str(error.value)


def test_a_folder_without_a_model_is_one_sentence(tmp_path):
    assert f"{tmp_path} does not load as a sentence encoder" in refused(tmp_path)


def test_layers_that_a_file_lacks_are_named_and_never_random(tiny_bert, tmp_path, capfd):
    folder = copied(tiny_bert, tmp_path / "bert")
    weights = folder / "model.safetensors"
    tensors = {name.replace("layer.1.", "layer.7."): value for name, value in load_file(weights).items()}
    save_file(tensors, weights, {"format": "pt"})
    told = refused(folder)
    assert "lacks 16 tensors of a sentence encoder" in told
    assert "(encoder.layer.1.attention.output.LayerNorm.bias, " in told
    assert "LOAD REPORT" not in "".join(capfd.readouterr())
    tensors = load_file(tiny_bert / "model.safetensors")
    tensors["embeddings.word_embeddings.weight"] = tensors["embeddings.word_embeddings.weight"][:-1].clone()
    save_file(tensors, weights, {"format": "pt"})
    assert "lacks 1 tensors of a sentence encoder" in refused(folder)


def test_a_pooler_may_be_missing(tiny_bert, tmp_path):
    folder = copied(tiny_bert, tmp_path / "bert")
    tensors = {name: t for name, t in load_file(folder / "model.safetensors").items() if "pooler" not in name}
    assert len(tensors) < len(load_file(folder / "model.safetensors"))
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    encoded = TransformersEncoder(folder).encode(TEXTS)
    np.testing.assert_array_equal(encoded, TransformersEncoder(tiny_bert).encode(TEXTS))


def test_a_file_that_was_cut_off_is_one_sentence(tiny_bert, tmp_path):
    folder = copied(tiny_bert, tmp_path / "bert")
    weights = folder / "model.safetensors"
    for size in (weights.stat().st_size // 2, 3, 0):
        weights.write_bytes((tiny_bert / "model.safetensors").read_bytes()[:size])
        assert "does not load as a sentence encoder" in refused(folder)


def test_models_of_other_kinds_are_no_encoders(tiny_llava, tmp_path):
    assert "holds a T5Model, which gives no vectors of the words" in refused(save_tiny_t5(tmp_path / "t5"))
    assert "holds a LlavaModel, which gives no vectors of the words" in refused(tiny_llava)


def test_of_a_bin_file_tensors_are_read_and_no_code_is_run(tiny_bert, tmp_path):
    folder = copied(tiny_bert, tmp_path / "bert")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    encoded = TransformersEncoder(folder).encode(TEXTS)
    np.testing.assert_array_equal(encoded, TransformersEncoder(tiny_bert).encode(TEXTS))

    class Hostile:
        def __reduce__(self):
            return Path.touch, (tmp_path / "it ran",)

    torch.save({**tensors, "more": Hostile()}, folder / "pytorch_model.bin")
    assert "does not load as a sentence encoder" in refused(folder)
    assert not (tmp_path / "it ran").exists()


def test_sentences_and_entities_share_what_fits_into_memory(tiny_bert):
    encoder = TransformersEncoder(tiny_bert, batch=7)
    assert encoder.for_entities()._batch is encoder._batch
    assert encoder.batch == 64  # on the CPU, whatever is asked for
