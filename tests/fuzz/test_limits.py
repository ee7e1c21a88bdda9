"""Files that claim or hold absurd amounts: a sentence, or bounded work, and never a process that fills the memory."""

from __future__ import annotations

import numpy as np
import torch

from itm_harness.benchmarks.protocol.ranks import evaluate_matrix
from itm_harness.datasets.batch import Inputs, Words
from itm_harness.datasets.precomp import open_dataset, open_features
from itm_harness.datasets.split import open_split
from itm_tests.fuzz.answers import answered
from itm_tests.trees import write_f30k


def header(path, shape, dtype="<f4") -> None:
    """A .npy file of this shape whose numbers are a hole on the disk."""
    dtype = np.dtype(dtype)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        )
        size = dtype.itemsize * int(np.prod(shape, dtype=object))
        if size < 1 << 44:
            file.truncate(file.tell() + size)


def test_a_header_that_claims_a_quadrillion_numbers(tmp_path):
    header(tmp_path / "train_ims.npy", (10**7, 10**5, 1000))
    assert "truncated" in answered(lambda: open_features(tmp_path / "train_ims.npy"), "train_ims.npy")


def test_a_million_regions_in_a_picture(tmp_path):
    header(tmp_path / "train_ims.npy", (2, 10**6, 8))
    assert "1,000,000 regions" in answered(lambda: open_features(tmp_path / "train_ims.npy"), "train_ims.npy")


def test_regions_of_a_hundred_million_numbers(tmp_path):
    header(tmp_path / "train_ims.npy", (2, 2, 10**8))
    assert "100,000,000 numbers" in answered(lambda: open_features(tmp_path / "train_ims.npy"), "train_ims.npy")


def test_a_caption_of_ten_megabytes(tmp_path):
    folder = write_f30k(tmp_path)
    lines = (folder / "train_caps.txt").read_text().splitlines()
    lines[7] = "dog " * 2_500_000
    (folder / "train_caps.txt").write_text("\n".join(lines) + "\n")
    sentence = answered(lambda: open_dataset("f30k", tmp_path).layout("train"), "train_caps.txt, line 8")
    assert "10,000" in sentence
    assert len(sentence) < 500


def test_a_million_captions_of_one_image(tmp_path):
    """Legal, if odd: read, batched and measured within the bounds of every other input."""
    folder = write_f30k(tmp_path)
    captions = 1_000_000
    (folder / "test_caps.txt").write_text("a dog runs .\n" * captions)
    (folder / "test_ids.txt").write_text("7\n" * captions)
    np.save(folder / "test_ims.npy", np.ones((1, 6, 16), np.float32))

    def read():
        split = open_split(open_dataset("f30k", tmp_path), "test", Inputs(text=Words(min_count=1)))
        assert (split.n_images, split.n_texts) == (1, captions)
        assert split.texts(np.arange(100)).words.shape == (100, 6)
        assert evaluate_matrix(torch.rand(1, captions), split.image_of_text).i2t.r1 == 100

    assert answered(read) is None
