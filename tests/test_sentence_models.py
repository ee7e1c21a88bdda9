"""Sentence vectors of a transformers model: pooling by hand, one text at a time; a model that is not there."""

import numpy as np
import pytest
import torch

from datasets.errors import DataError
from datasets.sentence_models import TransformersEncoder

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


def test_a_folder_without_a_model_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"does not hold a sentence encoder .*--encoder embedded"):
        _ = TransformersEncoder(tmp_path).width
