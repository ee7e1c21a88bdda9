"""What a run is told about its sidecar files, and what its record says of them."""

import json

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.runs.sidecar_files import missing_files, require_one_encoder, sidecar_sources
from itm_harness.datasets.batch import Inputs
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import content_print, manifest_path
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import open_split
from itm_tests.models import save_tiny_bert
from itm_tests.trees import write_f30k, write_pictures

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
    assert "itm prepare" in sentence
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


@pytest.fixture
def sentences(root, folder, quiet, tmp_path):
    """Make sentence vectors by a tiny model. name: of its folder. other: of other weights."""

    def call(splits, name, other=False):
        model = save_tiny_bert(tmp_path / f"{other}" / name)
        weights = load_file(model / "model.safetensors")
        save_file(
            {key: -w if other else w for key, w in weights.items()}, model / "model.safetensors", {"format": "pt"}
        )
        prepare(PrepareOptions("f30k", root, ["sentences"], encoder=str(model), splits=splits), quiet)

    return call


def test_the_model_that_made_released_vectors_may_fill_in_a_split_and_no_other_may(dataset, folder, sentences):
    (folder / "dev_cap_bge.npy").unlink()
    (folder / "dev_descriptions.txt").write_text("a photo of a dog\n" * 12)
    sentences(["dev"], "bge-large-en-v1.5")
    require_one_encoder(dataset, VSD, SPLITS)
    sentences(["dev"], "bert")
    with pytest.raises(
        DataError, match=r"train_cap_bge.npy and dev_captions.npy .* \(not made by prepare; bert \(mean"
    ):
        require_one_encoder(dataset, VSD, SPLITS)


def test_splits_by_two_models_do_not_go_together(dataset, folder, sentences):
    without_released(folder)
    sentences(SPLITS, "bert")
    require_one_encoder(dataset, VSD, SPLITS)
    sentences(["test"], "bert2", other=True)
    with pytest.raises(DataError, match=r"not of one encoder \(bert \(mean\); bert2 \(mean\)\).*--what sentences\.$"):
        require_one_encoder(dataset, VSD, SPLITS)


def test_one_name_may_not_stand_for_two_models(dataset, folder, sentences):
    without_released(folder)
    sentences(SPLITS, "bert")
    sentences(["test"], "bert", other=True)
    with pytest.raises(DataError, match=r"\(bert \(mean\), state \w{8}; bert \(mean\), state \w{8}\)"):
        require_one_encoder(dataset, Inputs(text_sidecars=("caption_vectors",)), SPLITS)


def test_sentences_and_entities_of_one_model_go_together(dataset, root, folder, quiet, tiny_bert):
    without_released(folder)
    options = PrepareOptions("f30k", root, ["sentences", "graphs"], encoder=str(tiny_bert), graph_parser="rules")
    prepare(options, quiet)
    vssr = Inputs(
        image_sidecars=("factual_descriptions",),
        text_sidecars=("factual_captions", "factual_entities", "factual_relations"),
    )
    require_one_encoder(dataset, vssr, SPLITS)


@pytest.fixture
def regions(root, folder, quiet):
    """Make region features of some splits from pictures."""
    write_pictures(folder, "train")  # the splits have the same ids

    def call(splits, side=64):
        small = {"backbone": "timm:test_resnet", "backbone_weights": "none", "cells": 2}
        prepare(PrepareOptions("f30k", root, ["regions"], splits=splits, side=side, force=True, **small), quiet)

    return call


def test_regions_of_two_makers_do_not_go_together(dataset, regions):
    require_one_encoder(dataset, Inputs(), SPLITS)  # all released
    regions(["train"])
    with pytest.raises(
        DataError,
        match=r"train_ims.npy and dev_ims.npy .*\(grid 2 x 2, timm:test_resnet, .* 64 pixels; not made by prepare\)",
    ):
        require_one_encoder(dataset, Inputs(), SPLITS)
    require_one_encoder(dataset, Inputs(regions=False), SPLITS)
    regions(["dev", "test"])
    require_one_encoder(dataset, Inputs(image_sidecars=("boxes",)), SPLITS)
    regions(["test"], side=96)
    with pytest.raises(DataError, match=r"64 pixels; grid .* 96 pixels\).*prepare --dataset f30k --what regions\.$"):
        require_one_encoder(dataset, Inputs(), SPLITS)


def test_a_job_looks_at_the_makers_of_its_regions(root, regions):
    regions(["train"])
    with pytest.raises(DataError, match=r"train_ims.npy and dev_ims.npy are not of one encoder"):
        Job(RunOptions("gpo", "f30k", root)).require_files()


def test_dependencies_that_were_released_and_parsed_go_together(dataset, folder):
    """Nothing compares them, so a parser may fill in a split."""
    (folder / "dev_caps.json").unlink()
    parsed = folder / "prepared" / "dev_dependencies.json"
    parsed.parent.mkdir()
    parsed.write_text("[]")
    made = {"encoder": "spacy", "fitted": False, "texts": "", "state": "1", "shape": [0], "dtype": "text"}
    made |= {"rows": content_print(parsed, ".json")}
    manifest_path(parsed).write_text(json.dumps(made))
    require_one_encoder(dataset, Inputs(text_sidecars=("dependencies",)), SPLITS)


def test_an_ensemble_is_offered_where_its_members_find_their_files(dataset, root, folder):
    (folder / "train_cap_bge.npy").unlink()  # of VSD's
    names = last_line(dataset).split(": ")[1].removesuffix(".").split(", ")
    assert "gpo bigru" in names
    assert not {"gpo grid", "gpo region-grid"} & set(names)
    write_pictures(folder, "train")
    names = last_line(open_dataset("f30k", root)).split(": ")[1].removesuffix(".").split(", ")
    assert "gpo" in names
    assert "gpo bigru" not in names  # "gpo" stands for all variants


def test_sources_name_the_encoder_or_say_that_a_file_was_supplied_or_simulated(root, folder, quiet):
    without_released(folder)
    prepare(PrepareOptions("f30k", root, ["sentences"], width=8), quiet)
    inputs = Inputs(image_sidecars=("boxes", "clip_images"), text_sidecars=("caption_vectors",))
    text = "extends: f30k\nname: f30k\nsimulated: [clip_images]\n"
    (root / "simulated.yaml").write_text(text)
    dataset = open_dataset(str(root / "simulated.yaml"), root)
    assert sidecar_sources([open_split(dataset, name, inputs) for name in ("train", "test")]) == {
        "boxes": "as supplied",
        "caption_vectors": "embedded",
        "clip_images": "simulated",
    }
    np.save(folder / "test_cap_bge.npy", np.ones((60, 8), np.float32))
    found = sidecar_sources([open_split(dataset, name, inputs) for name in ("train", "test")])
    assert found["caption_vectors"] == "as supplied, embedded"
    with pytest.raises(DataError, match="not of one encoder"):
        require_one_encoder(dataset, inputs, ("train", "test"))
