"""prepare --what layout: from a table of pictures and captions to a data set that trains, whatever its captions."""

import csv
import json

import numpy as np
import pytest
import yaml
from PIL import Image

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.benchmarks.runs.checkpoint_evaluation import evaluate_checkpoint
from itm_harness.benchmarks.runs.job import RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.check import check_dataset
from itm_harness.datasets.pictures.folder import find_pictures
from itm_harness.datasets.precomp import open_dataset
from itm_tests.trees import scenes

UNEVEN = [3, 1, 2, 5, 4, 1]  # captions of the pictures, over and over
SPLITS = {"train": 12, "val": 6, "test": 6}


def write_csv(tmp_path, counts=UNEVEN, splits=SPLITS, pictures=True):
    """A CSV with so many captions per picture, and the pictures beside it; its path."""
    path, images = tmp_path / "captions.csv", tmp_path / "photos"
    images.mkdir()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "split"])
        for split, size in splits.items():
            captions = scenes(np.random.default_rng(size), size, 1, 1)[1]
            for i in range(size):
                name = f"{split}/{i}.png"
                for caption in captions[5 * i : 5 * i + counts[i % len(counts)]]:
                    writer.writerow([name, caption, split])
                if pictures:
                    (images / split).mkdir(exist_ok=True)
                    Image.new("RGB", (8, 6), (i, 9 * i, 20)).save(images / name)
    return path


def write(tmp_path, quiet, source, dataset="mine.yaml", **changes):
    name = str(tmp_path / dataset) if dataset.endswith(".yaml") else dataset
    options = PrepareOptions(name, tmp_path / "data", ("layout",), sources=(str(source),), **changes)
    return prepare(options, quiet)


@pytest.fixture
def mine(tmp_path, quiet):
    """A new data set of uneven captions."""
    write(tmp_path, quiet, write_csv(tmp_path))
    (tmp_path / "photos").rename(tmp_path / "mine" / "images")
    return str(tmp_path / "mine.yaml")


def write_features(name, dim=16):
    dataset = open_dataset(name)
    for split in dataset.spec.splits:
        count = dataset.layout(split).n_images
        features = np.random.default_rng(count).standard_normal((count, 4, dim)).astype(np.float32)
        np.save(dataset.features_path(split), features)


def test_one_command_describes_a_new_data_set_and_writes_its_files(mine, quiet):
    dataset = open_dataset(mine)
    layout = dataset.layout("test")
    assert np.bincount(layout.image_of_text).tolist() == UNEVEN
    assert [(b.name, b.images) for b in dataset.spec.benchmarks] == [("mine-test", 6)]
    assert "clip_images" in dataset.spec.sidecars
    names = [path.name for path in find_pictures(dataset, "train")]
    assert names == [f"{i}.png" for i in range(12)]
    ids = dataset.ids_path("dev").read_text().split()
    assert len(ids) == sum(UNEVEN)
    assert ids[:4] == ["12", "12", "12", "13"]  # once per caption, numbered through all splits
    assert "captions.csv" in (dataset.folder.parent.parent / "mine.yaml").read_text()


def test_a_second_time_there_is_nothing_to_do_and_a_changed_source_is_written_anew(tmp_path, quiet):
    source = write_csv(tmp_path)
    assert len(write(tmp_path, quiet, source)) == 8
    assert write(tmp_path, quiet, source) == []
    source.write_text(source.read_text().replace(" dog ", " wolf "))
    changed = {path.name for path in write(tmp_path, quiet, source)}
    assert "train_caps.txt" in changed
    assert "train_ids.txt" not in changed


def test_files_of_others_stay_as_they_are(tmp_path, quiet):
    source, folder = write_csv(tmp_path), tmp_path / "mine" / "precomp"
    folder.mkdir(parents=True)
    (folder / "dev_ids.txt").write_text("7\n")
    with pytest.raises(RunError, match=r"dev_ids.txt is there, and no manifest"):
        write(tmp_path, quiet, source)
    assert [path.name for path in folder.iterdir()] == ["dev_ids.txt"]
    assert not (tmp_path / "mine.yaml").exists()
    write(tmp_path, quiet, source, force=True)
    assert (folder / "dev_ids.txt").read_text() != "7\n"


@pytest.mark.parametrize("counts", [UNEVEN, [1]], ids=["uneven", "one caption per picture"])
def test_any_number_of_captions_trains_and_is_measured(tmp_path, quiet, accelerator, counts):
    """Such as N24News, which has one."""
    write(tmp_path, quiet, write_csv(tmp_path, counts))
    name = str(tmp_path / "mine.yaml")
    write_features(name)
    small = {"text.bert": None, "embed_size": 16, "text.word_dim": 8, "train.batch_size": 4, "train.epochs": 2}
    (record,) = run(RunOptions("gpo", name, overrides=small, output=tmp_path), [0], accelerator, quiet)
    metrics = record.metrics["mine-test"]
    assert (metrics.n_images, metrics.n_texts) == (6, sum(counts) if len(counts) > 1 else 6)
    assert record.flags == ()
    assert check_dataset(name).problems == []
    there = RunOptions("gpo", name, output=tmp_path)
    checkpoint = tmp_path / "runs" / record.id / "best.safetensors"
    assert evaluate_checkpoint(there, checkpoint, accelerator, quiet)["mine-test"] == metrics


def test_other_products_follow_in_the_same_command(tmp_path, quiet):
    source = write_csv(tmp_path)
    for split, size in {"train": 12, "dev": 6, "test": 6}.items():
        path = tmp_path / "mine" / "precomp" / f"{split}_descriptions.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"picture {i}\n" for i in range(size)))
    options = PrepareOptions(
        str(tmp_path / "mine.yaml"), what=("sentences", "layout"), sources=(str(source),), encoder="embedded", width=32
    )
    names = [path.name for path in prepare(options, quiet)]
    assert names.index("train_caps.txt") < names.index("train_captions.npy")
    assert open_dataset(str(tmp_path / "mine.yaml")).size_of("caption_vectors") == 32


def test_pictures_that_are_not_there_are_told_of(tmp_path, quiet):
    write(tmp_path, quiet, write_csv(tmp_path), images=tmp_path / "photos")
    told = quiet.file.getvalue()
    assert "test: 6 pictures, all there" in told
    (tmp_path / "photos" / "val" / "3.png").unlink()
    write(tmp_path, quiet, tmp_path / "captions.csv", images=tmp_path / "photos")
    assert "lacks 1 of the 6 pictures of dev (val/3.png)" in quiet.file.getvalue()


def test_the_yaml_names_the_folder_of_the_pictures(tmp_path, quiet):
    write(tmp_path, quiet, write_csv(tmp_path), images=tmp_path / "photos")
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text())["images"] == "photos"
    assert len(find_pictures(open_dataset(str(tmp_path / "mine.yaml")), "test")) == 6


def karpathy(tmp_path, splits, captions=7):
    images = [
        {"filename": f"{i}.jpg", "filepath": "val2014", "cocoid": 500 + i, "split": split,
         "sentences": [{"raw": f"caption {c} of {i}", "sentid": 10 * i + c} for c in range(captions)]}
        for i, split in enumerate(splits)
    ]  # fmt: skip
    path = tmp_path / "dataset_coco.json"
    path.write_text(json.dumps({"dataset": "coco", "images": images}))
    return path


def test_cocos_own_files_from_karpathys_json(tmp_path, quiet):
    source = karpathy(tmp_path, ["train", "restval", "val", "test", "test"])
    write(tmp_path, quiet, source, "coco")
    folder = tmp_path / "data" / "coco" / "precomp"
    assert sorted(path.name for path in folder.glob("*.txt")) == [
        f"{split}_{name}.txt" for split in ("dev", "testall", "train") for name in ("caps", "caption_ids", "ids")
    ]
    assert len((folder / "train_caps.txt").read_text().splitlines()) == 10  # five of seven, as in SCAN's files
    assert "10 captions are left out: 5 per picture are kept" in quiet.file.getvalue()
    assert (folder / "testall_caption_ids.txt").read_text().split()[:6] == ["30", "31", "32", "33", "34", "40"]
    assert json.loads((folder.parent / "id_mapping.json").read_text())["503"] == "val2014/3.jpg"


def test_a_folder_of_the_older_name_is_filled_and_its_pictures_are_found(tmp_path, quiet):
    older = tmp_path / "data" / "coco_precomp"
    older.mkdir(parents=True)
    write(tmp_path, quiet, karpathy(tmp_path, ["train", "val", "test"]), "coco")
    assert (older / "testall_caps.txt").exists()
    images = tmp_path / "data" / "coco" / "images" / "val2014"
    images.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(images / "2.jpg")
    assert find_pictures(open_dataset("coco", tmp_path / "data"), "test") == [images / "2.jpg"]


def test_all_captions_of_a_picture_are_kept_where_that_is_asked_for(tmp_path, quiet):
    write(tmp_path, quiet, karpathy(tmp_path, ["train", "val", "test"]), "coco", max_captions=7)
    assert len((tmp_path / "data" / "coco" / "precomp" / "dev_caps.txt").read_text().splitlines()) == 7


def test_coco_json_takes_a_file_per_split(tmp_path, quiet):
    sources = []
    for number, split in enumerate(("train", "test")):
        content = {"images": [{"id": number, "file_name": f"{split}.jpg"}],
                   "annotations": [{"id": 70 + number, "image_id": number, "caption": f"a {split}"}]}  # fmt: skip
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
        sources.append(f"{split}={tmp_path / split}.json")
    options = PrepareOptions(str(tmp_path / "mine.yaml"), what=("layout",), sources=sources)
    prepare(options, quiet)
    dataset = open_dataset(options.dataset)
    assert list(dataset.spec.splits) == ["train", "test"]
    assert dataset.spec.captions_per_image == 1
    assert dataset.layout("test").captions == ["a test"]
    assert json.loads((tmp_path / "mine" / "id_mapping.json").read_text()) == {"0": "train.jpg", "1": "test.jpg"}


@pytest.mark.parametrize(
    ("dataset", "splits", "message"),
    [
        ("mine.yaml", {"train": 2}, "has no test pictures"),
        ("f30k.yaml", {"test": 2}, "would be called like the data set f30k"),
        ("demo", {"test": 2}, "demo is made on first use"),
    ],
)
def test_a_data_set_that_could_not_be_used_is_refused(tmp_path, quiet, dataset, splits, message):
    with pytest.raises(RunError, match=message):
        write(tmp_path, quiet, write_csv(tmp_path, splits=splits), dataset)
    assert not (tmp_path / "mine").exists()


def test_splits_that_the_data_set_has_not_are_refused(tmp_path, quiet):
    (tmp_path / "mine.yaml").write_text("name: mine\nsplits: {test: test}\nfolder: here\nbenchmarks: [{name: m}]\n")
    with pytest.raises(DataError, match="has dev pictures, but data set mine has no such split"):
        write(tmp_path, quiet, write_csv(tmp_path))


def test_sources_are_asked_for_and_belong_to_what_reads_them(tmp_path, quiet):
    with pytest.raises(RunError, match="--what layout needs what it is made of"):
        prepare(PrepareOptions(str(tmp_path / "mine.yaml"), what=("layout",)), quiet)
    with pytest.raises(RunError, match=r"--from x\.csv is for --what layout or caption_ids"):
        prepare(PrepareOptions("demo", sources=("x.csv",)), quiet)
    (tmp_path / "empty.csv").write_text("image,caption,split\n")
    with pytest.raises(DataError, match=r"empty\.csv holds no captions"):
        write(tmp_path, quiet, tmp_path / "empty.csv", "f30k")
    with pytest.raises(DataError, match=r"none\.csv cannot be read"):
        write(tmp_path, quiet, tmp_path / "none.csv")
