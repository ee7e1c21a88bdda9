"""The embedded sentence encoder: against a slow reference, the same bits everywhere, sensible neighbours."""

import hashlib
import math
import os
import re
import subprocess
import sys
from zlib import crc32

import numpy as np
import pytest

from itm_harness.datasets.text.sentences import (
    BIGRAM_WEIGHT,
    BUCKETS,
    CHARACTERS,
    CHUNK,
    SIGNS,
    EmbeddedEncoder,
    directions,
)

TRAIN = [
    "A black dog is running in the snow .",
    "A dog runs through the deep snow .",
    "Two men play football in a park .",
    "A man kicks a ball in the park .",
    "A girl in a red dress sits on a bench .",
    "A woman rides a horse along the beach .",
]

GOLDEN_STATE = "1829e4c316b99555"  # of an encoder 512 wide, fitted on TRAIN
GOLDEN_PLACES = [411, 277, 324, 398, 96]  # in the vector of "a dog"
GOLDEN_VALUES = [0.251346, 0.229189, 0.162748, 0.162748, -0.162748]
GOLDEN_POSITIONS = [16, 25, 4, 27, 0, 20]
GOLDEN_SIGNS = [-1, 1, 1, -1, 1, -1]


@pytest.fixture(scope="module")
def encoder():
    encoder = EmbeddedEncoder(512)
    encoder.fit(TRAIN)
    return encoder


def grams(text):
    """(bucket, weight) of every n-gram of a text, one after the other."""
    words = re.findall("[a-z0-9]+", text.lower())
    for word in words:
        marked = f"<{word}>"
        parts = [marked[i : i + n] for n in CHARACTERS for i in range(len(marked)) if i + n <= len(marked)]
        yield crc32(f"word {word}".encode()) % BUCKETS, 1.0
        for part in parts:
            yield crc32(f"part {part}".encode()) % BUCKETS, 1 / math.sqrt(len(parts))
    for i in range(1, len(words)):
        yield crc32(f"pair {words[i - 1]} {words[i]}".encode()) % BUCKETS, BIGRAM_WEIGHT


def reference(texts, width):
    """Vectors of texts by the definition, n-gram by n-gram."""
    vectors = np.zeros((len(texts), width))
    for vector, text in zip(vectors, texts, strict=True):
        for bucket, weight in grams(text):
            count = sum(bucket in {b for b, _ in grams(other)} for other in TRAIN)
            positions, signs = directions(np.array([bucket]), width)
            for position, sign in zip(positions[0], signs[0], strict=True):
                vector[position] += weight * math.log((2 + len(TRAIN)) / (1 + count)) * sign
        vector /= np.linalg.norm(vector)
    return vectors


def test_vectors_are_those_of_a_plain_loop():
    encoder = EmbeddedEncoder(40)
    encoder.fit(TRAIN)
    texts = ["a dog , a dog and 2 horses", "The red-dressed girl", "dog"]
    np.testing.assert_allclose(encoder.encode(texts), reference(texts, 40), atol=1e-6)


def test_a_paraphrase_is_nearer_than_another_sentence(encoder):
    dog, same, other, described = encoder.encode(
        ["a black dog runs in snow", "dogs running through the snow", "a woman on a horse", "a photo of dog; snow"]
    )
    assert dog @ same > dog @ other + 0.15
    assert dog @ described > other @ described + 0.15


def test_words_that_are_everywhere_hardly_count(encoder):
    plain, longer = encoder.encode(["dog snow", "a dog snow a a"])
    assert plain @ longer > 0.85


def test_texts_without_a_common_n_gram_are_nearly_orthogonal(encoder):
    words = ["dog", "bench", "football", "kicks", "rides", "woman"]
    similarity = encoder.encode(words) @ encoder.encode(words).T
    assert np.abs(similarity - np.eye(len(words))).max() < 0.15


def test_vectors_have_length_1_and_a_text_without_words_is_zero(encoder):
    vectors = encoder.encode(["a dog", ".", "", "A"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 0, 1], atol=1e-6)
    assert vectors.dtype == np.float32
    assert encoder.encode([]).shape == (0, 512)


def test_a_vector_depends_on_its_own_text_alone(encoder):
    texts = [f"{TRAIN[i % 6]} number {i}" for i in range(CHUNK + 3)]
    np.testing.assert_array_equal(encoder.encode(texts)[[0, 1, CHUNK, CHUNK + 2]], [
        encoder.encode([texts[i]])[0] for i in (0, 1, CHUNK, CHUNK + 2)
    ])  # fmt: skip


def test_fitting_counts_texts_once_across_chunks():
    many, few = EmbeddedEncoder(8), EmbeddedEncoder(8)
    many.fit(["dog dog"] * (CHUNK + 1) + ["cat"])
    few.fit(["dog"] * (CHUNK + 1) + ["cat"])
    bucket = crc32(b"word dog") % BUCKETS
    assert many._counts[bucket] == few._counts[bucket] == CHUNK + 1


def test_directions_are_fixed_and_balanced():
    positions, signs = directions(np.arange(4000), 32)
    assert positions.shape == signs.shape == (4000, SIGNS)
    counts = np.bincount(positions.ravel(), minlength=32)
    assert counts.min() > 0.9 * counts.mean()
    assert abs(signs.mean()) < 0.02
    assert positions[7, :6].tolist() == GOLDEN_POSITIONS
    assert signs[7, :6].tolist() == GOLDEN_SIGNS


def test_the_state_tells_texts_and_widths_apart(encoder):
    wide, other = EmbeddedEncoder(513), EmbeddedEncoder(512)
    wide.fit(TRAIN)
    other.fit([*TRAIN, "one more"])
    assert len({encoder.state, wide.state, other.state}) == 3


def test_another_process_gives_the_same_bits(encoder):
    program = (
        "import sys, hashlib, itm_harness.datasets.text.sentences as made; e = made.EmbeddedEncoder(512);"
        "e.fit(sys.argv[1:]); print(e.state, hashlib.sha256(e.encode(sys.argv[1:]).tobytes()).hexdigest())"
    )
    expected = f"{encoder.state} {hashlib.sha256(encoder.encode(TRAIN).tobytes()).hexdigest()}"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program, *TRAIN], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert done.stdout.strip() == expected


def test_vectors_of_an_earlier_version_are_given_again(encoder):
    assert encoder.state == GOLDEN_STATE
    np.testing.assert_allclose(encoder.encode(["a dog"])[0, GOLDEN_PLACES], GOLDEN_VALUES, atol=1e-6)


def test_it_has_to_be_fitted_first():
    with pytest.raises(ValueError, match="fit"):
        EmbeddedEncoder(8).encode(["a dog"])
