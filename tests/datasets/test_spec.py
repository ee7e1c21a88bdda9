import pytest

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.spec import dataset_names, find_spec

MINIMAL = "name: mine\nbenchmarks: [{name: mine-1k, images: 1000}]\n"


def write(tmp_path, text):
    path = tmp_path / "data.yaml"
    path.write_text(text)
    return str(path)


def test_shipped_data_sets_and_their_benchmarks():
    assert dataset_names() == ["coco", "coco-test", "demo", "f30k", "f8k", "n24news", "rsitmd"]
    benchmarks = {b.name: (b.images, b.folds) for name in dataset_names() for b in find_spec(name).benchmarks}
    assert benchmarks == {
        "f30k-1k": (1000, 1),
        "coco-1k": (5000, 5),
        "coco-5k": (5000, 1),
        "coco-1k-first": (1000, 1),
        "f8k-1k": (1000, 1),
        "demo-500": (500, 1),
        "demo-100": (500, 5),
        "n24news-test": (None, 1),  # no source says how many images
        "rsitmd-test": (None, 1),
    }


def test_coco_is_tested_on_testall():
    assert find_spec("coco").file_split("test") == "testall"
    assert find_spec("f30k").file_split("test") == "test"


def test_official_file_names_of_sidecars():
    spec = find_spec("coco")
    assert spec.sidecar("boxes").patterns("test", "testall") == ["testall_ims_bbx.npy"]
    dagger = spec.sidecar("descriptions_dagger")
    assert dagger.patterns("train", "train") == [
        "train_aux_cap_bge_cpm_full.npy",
        "prepared/train_descriptions_dagger.npy",
    ]
    assert dagger.patterns("test", "testall")[0] == "testall_aux_cap_bge_cpm_full_1.npy"
    assert spec.sidecar("factual_entities").patterns("dev", "dev")[0] == "factual/dev_caps_entities_bge.npy"


def test_every_shipped_sidecar_says_how_to_get_it():
    for name in dataset_names():
        spec = find_spec(name)
        assert spec.where
        assert all(sidecar.made_by and sidecar.what for sidecar in spec.sidecars.values())
        assert set(spec.simulated) <= set(spec.sidecars)


def test_f8k_reads_what_prepare_makes_under_honest_names_and_each_file_for_every_method_that_can_use_it():
    sidecars = find_spec("f8k").sidecars
    assert set(sidecars) == set(find_spec("f30k").sidecars) - {"image_sizes"}
    assert not any("bge" in name for spec in sidecars.values() for name in spec.files)
    assert {sidecars[name].files for name in ("caption_vectors", "caption_vectors_hrem", "factual_captions")} == {
        ("prepared/{split}_captions.npy",)
    }


def test_a_users_yaml_of_two_lines(tmp_path):
    spec = find_spec(write(tmp_path, MINIMAL))
    assert (spec.name, spec.dev_images, spec.captions_per_image, spec.sidecars) == ("mine", 1000, 5, {})
    assert spec.file_split("test") == "test"


def test_extends_brings_sidecars_along_and_own_ones_win(tmp_path):
    own = "sidecars: {boxes: {side: image, rows: image, files: [b.npy], what: boxes, made_by: me}}\n"
    spec = find_spec(write(tmp_path, f"extends: scan\n{MINIMAL}{own}"))
    assert spec.sidecar("boxes").files == ("b.npy",)
    assert "dependencies" in spec.sidecars


def test_extending_a_data_set_keeps_its_values(tmp_path):
    spec = find_spec(write(tmp_path, "extends: coco\nname: coco-own\n"))
    assert (spec.name, spec.file_split("test"), len(spec.benchmarks)) == ("coco-own", "testall", 2)


def test_a_users_folder_is_relative_to_the_yaml(tmp_path):
    assert find_spec(write(tmp_path, f"{MINIMAL}folder: files\n")).folder == str(tmp_path / "files")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: mine\n", "'benchmarks' is missing; for example"),
        (f"{MINIMAL}dev_image: 5\n", "unknown key 'dev_image' .did you mean 'dev_images'"),
        ("name: mine\nbenchmarks: [{name: b, images: 5, fold: 2}]\n", "did you mean 'folds'"),
        (f"{MINIMAL}sidecars: {{x: {{side: picture}}}}\n", "sidecars.x.side = 'picture' is not valid"),
        (f"{MINIMAL}extends: scann\n", "extends: scann is unknown .did you mean 'scan'"),
        ("- a list\n", "holds no mapping"),
        ("name: [\n", "cannot be read as YAML"),
    ],
)
def test_faults_of_a_yaml_are_one_sentence_with_the_key(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        find_spec(write(tmp_path, text))
    assert "data.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(DataError, match="did you mean 'f30k'"):
        find_spec("f30")
    with pytest.raises(DataError, match="does not exist"):
        find_spec("nowhere/data.yaml")
    with pytest.raises(DataError, match="did you mean 'boxes'"):
        find_spec("f30k").sidecar("box")
    with pytest.raises(DataError, match="did you mean 'test'"):
        find_spec("f30k").file_split("tst")
