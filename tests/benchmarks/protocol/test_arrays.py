"""Arrays of any system: known answers, numpy as torch, and one sentence for what cannot be measured."""

import numpy as np
import pytest
import torch

from itm_harness.benchmarks.common.errors import NotFiniteError, RunError
from itm_harness.benchmarks.protocol.arrays import as_matrix, embedding_similarity, measure, measure_on


def matrix(rows, columns, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, columns)))


def test_the_identity_is_all_right_and_its_negative_all_wrong():
    identity = torch.eye(20).repeat_interleave(5, dim=1)  # each image's five captions
    assert measure(identity).rsum == measure(identity, captions_per_image=5).rsum == 600
    wrong = measure(-identity)
    assert wrong.rsum == 0
    assert wrong.t2i.mean == 20  # the last of 20 images


def test_the_order_of_the_captions_is_what_image_of_text_says():
    similarity, owners = matrix(8, 40), torch.arange(40) // 5
    order = torch.from_numpy(np.random.default_rng(1).permutation(40))
    assert measure(similarity[:, order], image_of_text=owners[order]) == measure(similarity)
    assert measure(similarity[:, order]) != measure(similarity)


def test_images_may_have_different_numbers_of_captions():
    metrics = measure(torch.eye(3)[:, [0, 0, 1, 2, 2, 2]], image_of_text=[0, 0, 1, 2, 2, 2])
    assert (metrics.n_images, metrics.n_texts, metrics.rsum) == (3, 6, 600)


def test_a_benchmark_brings_size_and_folds():
    similarity = torch.eye(1000).repeat_interleave(5, dim=1)
    assert measure_on("f30k-1k", similarity).rsum == 600
    five = measure_on("demo-100", matrix(500, 2500))
    assert (five.folds, five.n_images) == (5, 500)
    assert five.i2t.mean < measure_on("demo-500", matrix(500, 2500)).i2t.mean  # smaller galleries


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", "int64", "uint8"])
def test_any_numbers_are_taken_as_they_are(dtype):
    values = np.arange(12).reshape(3, 4).astype(dtype)
    found = as_matrix(values, "similarity")
    assert found.dtype == (torch.float32 if np.dtype(dtype).itemsize <= 4 and "f" in dtype else torch.float64)
    assert torch.equal(found, as_matrix(torch.from_numpy(values.astype(values.dtype.newbyteorder("="))), "similarity"))
    assert found.tolist() == values.tolist()


@pytest.mark.filterwarnings("error")  # torch warns of memory that may not be written
def test_views_and_mapped_files_are_taken(tmp_path):
    values = np.random.default_rng(0).standard_normal((6, 4))
    np.save(tmp_path / "values.npy", values)
    for view in (values, np.load(tmp_path / "values.npy", mmap_mode="r"), values.T.copy().T, values[::-1][::-1]):
        assert as_matrix(view, "similarity").tolist() == values.tolist()


def test_embeddings_are_multiplied_and_lengths_count_unless_cosine():
    images, texts = torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[2.0, 0], [3, 4]])
    assert embedding_similarity(images, texts).tolist() == [[2, 3], [0, 4]]
    cosine = embedding_similarity(3 * images, texts, cosine=True)
    assert torch.allclose(cosine, torch.tensor([[1, 0.6], [0, 0.8]]), atol=1e-6)
    assert embedding_similarity(images.double(), texts).dtype == torch.float64


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (lambda: as_matrix(np.zeros(5), "similarity"), r"similarity has shape \(5,\)"),
        (lambda: as_matrix(np.zeros((0, 5)), "images"), r"images has shape \(0, 5\)"),
        (lambda: as_matrix(np.zeros((2, 5), complex), "texts"), "type complex128"),
        (lambda: as_matrix([["a"]], "texts"), "type <U1"),
        (lambda: embedding_similarity(np.zeros((2, 3)), np.zeros((2, 4))), "images are 3 numbers wide, texts 4"),
        (lambda: measure(matrix(40, 8)), "40 x 8, .* transpose it"),
        (lambda: measure(matrix(8, 41)), "every image the same number"),
        (lambda: measure(matrix(8, 40), captions_per_image=4), "captions_per_image=4"),
        (lambda: measure(matrix(8, 40), captions_per_image=0), "captions_per_image=0"),
        (lambda: measure(matrix(2, 3), image_of_text=[0, 1]), "names 2 captions, similarity has 3 columns"),
        (lambda: measure(matrix(2, 3), image_of_text=[0, 1, 2]), "image 2, similarity has rows 0 to 1"),
        (lambda: measure(matrix(2, 3), image_of_text=[0, 1, -1]), "image -1"),
        (lambda: measure(matrix(2, 3), image_of_text=[0.0, 1, 1]), "no list of whole numbers"),
        (lambda: measure(matrix(2, 3), image_of_text=[0, 0, 0]), "belong to 1 images"),
        (lambda: measure_on("f30k-1k", matrix(5000, 1000)), "similarity is 5000 x 1000, .* it is transposed"),
        (lambda: measure_on("f30k", matrix(2, 3)), "unknown benchmark 'f30k' .did you mean 'f30k-1k'"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(asked, says):
    with pytest.raises(RunError, match=says):
        asked()


def test_numbers_that_are_none_are_found():
    broken = matrix(3, 15)
    broken[1, 4] = torch.nan
    with pytest.raises(NotFiniteError, match="row 1"):
        measure(broken)
    with pytest.raises(NotFiniteError, match="texts hold NaN or inf in row 1"):
        embedding_similarity(matrix(3, 15), broken)
