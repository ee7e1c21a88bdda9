"""What a run is told about its sidecar files, and what its record says of them."""

import numpy as np
import pytest

from benchmarks.job import Job, RunOptions
from benchmarks.prepare import PrepareOptions, prepare
from benchmarks.sidecar_files import missing_files, require_one_encoder, sidecar_sources
from datasets.batch import Inputs
from datasets.errors import DataError
from datasets.precomp import open_dataset
from tests.trees import write_f30k

SPLITS = ("train", "dev", "test")
VSD = Inputs(image_sidecars=("descriptions_star",), text_sidecars=("caption_vectors",))


@pytest.fixture
def root(tmp_path):
    """f30k with every vector that a method reads."""
    write_f30k(tmp_path, vectors=8)
    return tmp_path


@pytest.fixture
def folder(root):
    return root / "f30k" / "precomp"


@pytest.fixture
def dataset(root):
    return open_dataset("f30k", root)


def without_released(folder):
    """Remove the vectors of VSD and VSSR, and write descriptions to make them from."""
    for split in SPLITS:
        for name in ("aux_cap_bge_flor_det", "cap_bge", "cap_bge_cpm"):
            (folder / f"{split}_{name}.npy").unlink()
        (folder / f"{split}_descriptions.txt").write_text("a photo of a dog\n" * 12)
    for path in (folder / "factual").iterdir():
        path.unlink()


def last_line(dataset, inputs=VSD):
    return missing_files(dataset, inputs, SPLITS)[-1]


def test_nothing_is_said_where_nothing_is_missing(dataset):
    assert missing_files(dataset, VSD, SPLITS) == []


def test_a_missing_file_comes_with_what_it_is_how_to_make_it_and_what_runs_without(dataset, folder):
    (folder / "train_aux_cap_bge_flor_det.npy").unlink()
    sentence, able = missing_files(dataset, VSD, SPLITS)
    assert "train_aux_cap_bge_flor_det.npy (or prepared/train_descriptions.npy) is missing" in sentence
    assert "VSD repository" in sentence
    assert "python harness.py prepare" in sentence
    names = able.removeprefix("With the files that are there, these run on f30k: ").removesuffix(".").split(", ")
    assert {"gpo", "gsmn", "hrem", "vssr", "clip", "vsd hrem-dagger"} <= set(names)
    assert not {"vsd gpo-star", "vsd hrem-star", "vsd clip-star"} & set(names)
    assert "gsmn sparse" not in names  # said by "gsmn"


def test_methods_whose_files_are_missing_too_are_not_offered(dataset, folder):
    without_released(folder)
    (folder / "test_caps.json").unlink()
    names = last_line(dataset).split(": ")[1].removesuffix(".").split(", ")
    assert {"gpo", "gsmn", "clip"} <= set(names)  # dense GSMN reads no dependencies
    assert not any(name.startswith(("gsmn sparse", "vssr", "vsd")) for name in names)


def test_none_is_said_where_none_runs(dataset, folder):
    (folder / "train_caps.txt").unlink()
    assert last_line(dataset).endswith("these run on f30k: none.")


def test_without_dev_the_last_epoch_is_offered(dataset, folder):
    (folder / "dev_cap_bge.npy").unlink()
    sentences = missing_files(dataset, VSD, SPLITS)
    assert "train.select=last" in sentences[1]
    assert missing_files(dataset, VSD, ("train", "test")) == []
    (folder / "test_cap_bge.npy").unlink()
    assert not any("Only dev" in sentence for sentence in missing_files(dataset, VSD, SPLITS))


def test_a_job_stops_with_these_sentences(root, folder):
    (folder / "test_clip_tiny_ims.npy").unlink()
    with pytest.raises(DataError) as error:
        Job(RunOptions("clip", "f30k", root)).require_files()
    first, last = str(error.value).splitlines()
    assert "test_clip_*_ims.npy is missing: CLIP vectors of the pictures" in first
    assert "these run on f30k: gpo" in last


def test_prepared_vectors_of_one_fit_go_together(dataset, root, folder, quiet):
    without_released(folder)
    prepare(PrepareOptions("f30k", root, ["sentences"], width=8), quiet)
    require_one_encoder(dataset, VSD, SPLITS)


def test_splits_of_two_widths_or_fits_do_not(dataset, root, folder, quiet):
    without_released(folder)
    prepare(PrepareOptions("f30k", root, ["sentences"], width=8), quiet)
    prepare(PrepareOptions("f30k", root, ["sentences"], width=16, splits=["dev"]), quiet)
    require_one_encoder(dataset, VSD, ("train", "test"))
    with pytest.raises(DataError, match=r"train_descriptions.npy and dev_descriptions.npy are not of one encoder"):
        require_one_encoder(dataset, VSD, SPLITS)


def test_embedded_vectors_do_not_stand_in_for_a_missing_split_of_released_ones(dataset, root, folder, quiet):
    (folder / "dev_cap_bge.npy").unlink()
    (folder / "dev_cap_bge_cpm.npy").unlink()
    (folder / "dev_descriptions.txt").write_text("a photo of a dog\n" * 12)
    prepare(PrepareOptions("f30k", root, ["sentences"], width=8, splits=["dev"]), quiet)
    assert missing_files(dataset, VSD, SPLITS) == []
    with pytest.raises(DataError, match=r"train_cap_bge.npy and dev_captions.npy are not of one encoder"):
        require_one_encoder(dataset, VSD, SPLITS)


def test_a_model_may_fill_in_a_split(dataset, root, folder, quiet, tiny_bert):
    (folder / "dev_cap_bge.npy").unlink()
    (folder / "dev_descriptions.txt").write_text("a photo of a dog\n" * 12)
    prepare(PrepareOptions("f30k", root, ["sentences"], encoder=str(tiny_bert), splits=["dev"]), quiet)
    require_one_encoder(dataset, VSD, SPLITS)


def test_sources_name_the_encoder_or_say_that_a_file_was_supplied_or_simulated(root, folder, quiet):
    without_released(folder)
    prepare(PrepareOptions("f30k", root, ["sentences"], width=8), quiet)
    inputs = Inputs(image_sidecars=("boxes", "clip_images"), text_sidecars=("caption_vectors",))
    text = "extends: f30k\nname: f30k\nsimulated: [clip_images]\n"
    (root / "simulated.yaml").write_text(text)
    dataset = open_dataset(str(root / "simulated.yaml"), root)
    assert sidecar_sources([dataset.split(name, inputs) for name in ("train", "test")]) == {
        "boxes": "as supplied",
        "caption_vectors": "embedded",
        "clip_images": "simulated",
    }
    np.save(folder / "test_cap_bge.npy", np.ones((60, 8), np.float32))
    found = sidecar_sources([dataset.split(name, inputs) for name in ("train", "test")])
    assert found["caption_vectors"] == "as supplied, embedded"
    with pytest.raises(DataError, match="not of one encoder"):
        require_one_encoder(dataset, inputs, ("train", "test"))
