"""prepare --what prototypes: the centroids that VSD finds itself, in a file that it takes."""

import numpy as np
import pytest
import torch

from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import read_manifest
from itm_harness.methods.errors import MethodError
from itm_tests.trees import write_f30k

SMALL = {"text.bert": None, "text.word_dim": 8, "host.embed_size": 16, "prototypes": 6}


@pytest.fixture
def folder(tmp_path):
    return write_f30k(tmp_path, 12, vectors=16)


def make(tmp_path, quiet, count=6, **changes):
    return prepare(PrepareOptions("f30k", tmp_path, ("prototypes",), prototypes=count, **changes), quiet)


def fitted(tmp_path, **overrides):
    """VSD's prototypes after fit."""
    job = Job(RunOptions("vsd", "f30k", tmp_path, "gpo-star", {**SMALL, **overrides}))
    method = job.build(0)
    method.fit(job.split("train"))
    return method.prototypes


def test_vsd_starts_from_the_file_as_it_would_without(tmp_path, folder, quiet):
    star, dagger = make(tmp_path, quiet)
    assert (star.name, dagger.name) == ("descriptions_star_prototypes_6.npy", "descriptions_dagger_prototypes_6.npy")
    assert np.load(star).shape == (6, 16)
    assert torch.equal(fitted(tmp_path, prototypes_file=str(star)), fitted(tmp_path))
    assert not np.array_equal(np.load(star), np.load(dagger))
    manifest = read_manifest(star)
    assert (manifest.encoder, manifest.state) == ("k-means", "6 from seed 0")
    assert make(tmp_path, quiet) == []
    np.save(folder / "train_aux_cap_bge_flor_det.npy", np.load(folder / "train_aux_cap_bge_flor_det.npy") * 2)
    assert make(tmp_path, quiet) == [star]  # other vectors


def test_one_set_of_descriptions_is_enough_and_none_is_too_few(tmp_path, folder, quiet):
    (folder / "train_aux_cap_bge_flor_det.npy").unlink()
    (path,) = make(tmp_path, quiet)
    assert path.name.startswith("descriptions_dagger")
    (folder / "train_aux_cap_bge_cpm_full.npy").unlink()
    with pytest.raises(DataError, match=r"train_descriptions\.npy is missing: vectors of the training descriptions"):
        make(tmp_path, quiet)


def test_descriptions_may_be_encoded_in_the_same_command(tmp_path, quiet):
    folder = write_f30k(tmp_path, 12)
    for split in ("train", "dev", "test"):
        (folder / f"{split}_descriptions.txt").write_text("".join(f"a picture of {i}\n" for i in range(12)))
    options = PrepareOptions("f30k", tmp_path, ("prototypes", "sentences"), "embedded", 16, prototypes=4)
    names = [path.name for path in prepare(options, quiet)]
    assert names[-1] == "descriptions_star_prototypes_4.npy"
    assert read_manifest(folder / "prepared" / names[-1]).label == "k-means of embedded"


def test_more_prototypes_than_descriptions_are_refused(tmp_path, folder, quiet):
    with pytest.raises(MethodError, match="prototypes=70, but the training split holds only 60 different"):
        make(tmp_path, quiet, 70)
