import json
import os
import shutil

import numpy as np
import pytest
import torch

from itm_harness.datasets.augment import Augmentation
from itm_harness.datasets.batch import Inputs, WordPieces, Words
from itm_harness.datasets.draws import Draws
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import Split, open_split
from itm_tests.trees import write_coco, write_f30k, write_split, write_vocabulary

REGIONS = Inputs(regions=True)
WORDS = Inputs(text=Words())


@pytest.fixture
def f30k(tmp_path):
    write_f30k(tmp_path, vectors=8)
    return open_dataset("f30k", tmp_path)


def test_repeated_features_of_dev_and_test_give_each_image_once(tmp_path):
    folder = write_coco(tmp_path, images=6)
    stored = np.load(folder / "dev_ims.npy")
    dev = open_split(open_dataset("coco", tmp_path), "dev", REGIONS)
    assert (len(stored), dev.n_images, dev.n_texts) == (30, 6, 30)
    assert np.array_equal(dev.images(range(6)).regions.numpy(), stored[::5])
    assert dev.image_ids == [str(1000 + i) for i in range(6)]
    assert np.array_equal(dev.pairs([7, 29]).images.regions.numpy(), stored[[5, 25]])


def test_coco_reads_testall_and_names_it_where_it_is_missing(tmp_path):
    folder = write_coco(tmp_path)
    assert open_split(open_dataset("coco", tmp_path), "test", REGIONS).n_images == 20
    (folder / "testall_ims.npy").unlink()
    with pytest.raises(DataError, match=r"testall_ims\.npy is missing: region features of test; .*Kaggle"):
        open_split(open_dataset("coco", tmp_path), "test", REGIONS)


def test_both_layouts_of_folders_are_found(tmp_path):
    folder = write_f30k(tmp_path)
    assert open_dataset("f30k", tmp_path).folder == folder
    shutil.move(folder, tmp_path / "f30k_precomp")
    assert open_dataset("f30k", tmp_path).folder == tmp_path / "f30k_precomp"
    with pytest.raises(DataError, match=r"there is no .*coco/precomp nor .*coco_precomp; .*Kaggle.*--data-root"):
        open_dataset("coco", tmp_path)


def test_the_data_root_comes_from_the_environment(tmp_path, monkeypatch):
    folder = write_f30k(tmp_path)
    monkeypatch.setenv("ITM_DATA", str(tmp_path))
    assert open_dataset("f30k").folder == folder
    monkeypatch.delenv("ITM_DATA")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="there is no data/f30k/precomp"):
        open_dataset("f30k")


def test_a_users_data_set_with_three_captions_an_image(tmp_path):
    folder = tmp_path / "mine" / "precomp"
    write_split(folder, "train", np.random.default_rng(0), 4, 3, 8)
    captions = (folder / "train_caps.txt").read_text().splitlines()[:12]
    (folder / "train_caps.txt").write_text("\n".join(captions))
    (folder / "train_ids.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "mine.yaml").write_text("name: mine\nbenchmarks: [{name: mine-4, images: 4}]\n")
    train = open_split(open_dataset(str(tmp_path / "mine.yaml"), tmp_path), "train", REGIONS)
    assert (train.n_images, train.n_texts, train.image_ids) == (4, 12, ["a", "b", "c", "d"])
    assert train.image_of_text.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_pairs_hold_each_captions_image_words_and_sidecars(f30k, tmp_path):
    folder = f30k.folder
    inputs = Inputs(
        text=Words(), image_sidecars=("descriptions_star", "boxes"), text_sidecars=("caption_vectors", "dependencies")
    )
    train = open_split(f30k, "train", inputs)
    features, captions = np.load(folder / "train_ims.npy"), (folder / "train_caps.txt").read_text().splitlines()
    vectors, descriptions = np.load(folder / "train_cap_bge.npy"), np.load(folder / "train_aux_cap_bge_flor_det.npy")
    texts = [59, 0, 7, 7]
    batch = train.pairs(torch.tensor(texts))
    assert batch.texts.ids.tolist() == texts
    assert batch.images.ids.tolist() == batch.texts.image_ids.tolist() == [11, 0, 1, 1]
    assert np.array_equal(batch.images.regions.numpy(), features[[11, 0, 1, 1]])
    assert np.array_equal(batch.texts.sidecars["caption_vectors"].numpy(), vectors[texts])
    assert np.array_equal(batch.images.sidecars["descriptions_star"].numpy(), descriptions[texts])
    assert batch.texts.sidecars["dependencies"][:, 0].unique().tolist() == [0, 1, 2, 3]
    vocabulary = f30k.vocabulary(Words())
    for row, text in enumerate(texts):
        words = [vocabulary.words[i] for i in batch.texts.words[row, : batch.texts.lengths[row]].tolist()]
        assert words == ["<start>", *captions[text].lower().split(), "<end>"]
    gallery = train.images([11, 0])
    assert np.array_equal(gallery.sidecars["descriptions_star"].numpy(), descriptions[[55, 0]])


def test_word_pieces_of_pairs_and_their_augmentation(f30k, tmp_path):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "near", "the", ".", *"abcdefghijklmnopqrstuvwxyz"]
    pieces = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]  # other words fall into letters
    (tmp_path / "vocab.txt").write_text("\n".join(dict.fromkeys([*words, *pieces])))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    train = open_split(f30k, "train", Inputs(text=WordPieces(str(tmp_path))), limit=3)
    plain = train.pairs(range(15))
    letters = sum(len(word) if word not in words else 1 for word in train.captions[4].lower().split())
    assert plain.texts.lengths[4] == letters + 2
    assert plain.texts.words[4, 0] == 2
    assert plain.texts.words[4, letters + 1] == 3
    drawn = train.pairs(range(train.n_texts), Augmentation(), Draws(0, 0))
    assert (drawn.texts.words[:, 0] == 2).all()
    assert (drawn.texts.words == 4).any()
    assert len(drawn.texts.lengths.unique()) > 3


def test_augmented_pairs_drop_regions_and_boxes_alike(tmp_path):
    folder = write_f30k(tmp_path, images=40)
    split = open_split(open_dataset("f30k", tmp_path), "train", Inputs(text=Words(), image_sidecars=("boxes",)))
    features, shares = np.load(folder / "train_ims.npy"), split.images(range(40)).sidecars["boxes"].numpy()
    batch = split.pairs(range(0, 200, 5), Augmentation(0.5, 0.3), Draws(0, 0), sort_by_length=True)
    assert (batch.images.lengths < 6).any()
    assert batch.texts.lengths.tolist() == sorted(batch.texts.lengths.tolist(), reverse=True)
    behind = torch.arange(batch.texts.words.shape[1]) >= batch.texts.lengths[:, None]
    assert not batch.texts.words[behind].any()
    boxes = batch.images.sidecars["boxes"].numpy()
    for image, regions, length, box in zip(
        batch.images.ids, batch.images.regions, batch.images.lengths, boxes, strict=True
    ):
        places = [int(np.flatnonzero((features[image] == r).all(1))[0]) for r in regions[:length].numpy()]
        assert places == sorted(set(places))
        assert np.array_equal(box[:length], shares[image, places])
        assert not regions[length:].any()
        assert not box[length:].any()


@pytest.mark.parametrize("sort_by_length", [True, False])
def test_a_share_of_a_batch_is_padded_like_the_whole(tmp_path, sort_by_length):
    write_f30k(tmp_path, images=40)
    split = open_split(open_dataset("f30k", tmp_path), "train", Inputs(text=Words(), image_sidecars=("boxes",)))
    arguments = range(0, 200, 9), Augmentation(0.7, 0.3), Draws(0, 0), sort_by_length
    whole = split.pairs(*arguments)
    widths = set()
    for own in (slice(0, 2), slice(2, 4), slice(4, 12), slice(12, 23)):
        part = split.pairs(*arguments, own)
        assert torch.equal(part.texts.ids, whole.texts.ids[own])
        assert torch.equal(part.texts.words, whole.texts.words[own])
        assert torch.equal(part.images.regions, whole.images.regions[own])
        assert torch.equal(part.images.sidecars["boxes"], whole.images.sidecars["boxes"][own])
        widths.add((int(part.images.lengths.max()), int(part.texts.lengths.max())))
    assert len(widths) > 1  # left to themselves, the parts would differ


def test_sorting_is_stable_and_moves_whole_pairs(f30k):
    train = open_split(f30k, "train", WORDS)
    texts = np.random.default_rng(0).permutation(60)
    batch = train.pairs(texts, sort_by_length=True)
    expected = texts[np.argsort(-train.text_lengths.numpy()[texts], kind="stable")]
    assert batch.texts.ids.tolist() == expected.tolist()
    assert batch.images.ids.tolist() == train.image_of_text[expected].tolist()
    assert train.pairs(texts).texts.ids.tolist() == texts.tolist()


def test_words_that_dependencies_point_to_are_not_moved(f30k):
    train = open_split(f30k, "train", Inputs(text=Words(), text_sidecars=("dependencies",)))
    with pytest.raises(DataError, match=r"augment\.words=0"):
        train.pairs([0], Augmentation(), Draws(0, 0))
    train.pairs([0], Augmentation(words=0), Draws(0, 0))


def test_dev_and_limit_keep_the_first_images(tmp_path):
    folder = write_f30k(tmp_path)
    (tmp_path / "small.yaml").write_text("extends: f30k\nname: f30k\ndev_images: 7\n")
    dataset = open_dataset(str(tmp_path / "small.yaml"), tmp_path)
    dev = open_split(dataset, "dev", Inputs(text=Words(), text_sidecars=("dependencies",)))
    assert (dev.n_images, dev.n_texts, len(dev.captions), len(dev.image_ids)) == (7, 35, 35, 7)
    assert open_split(dataset, "train", WORDS).n_images == 12
    assert open_split(dataset, "dev", WORDS, limit=3).n_texts == 15
    assert open_split(dataset, "dev", WORDS, limit=50).n_images == 7
    ids = (folder / "train_ids.txt").read_text().split()
    (folder / "train_ids.txt").write_text("\n".join(ids[i % 12 * 5] for i in range(60)))  # captions apart
    apart = open_split(open_dataset("f30k", tmp_path), "train", WORDS, limit=2)
    assert apart.captions == [(folder / "train_caps.txt").read_text().splitlines()[i] for i in range(60) if i % 12 < 2]
    assert apart.image_of_text.tolist() == [0, 1] * 5
    assert apart.first_text_of_image.tolist() == [0, 1]
    assert apart.texts([3]).image_ids.tolist() == [1]


def test_the_first_captions_of_images(f30k):
    assert open_split(f30k, "test", REGIONS).first_text_of_image.tolist() == list(range(0, 60, 5))


def test_whole_sidecars_are_given_as_declared(f30k, tmp_path):
    inputs = Inputs(image_sidecars=("boxes", "descriptions_dagger"), text_sidecars=("caption_vectors", "dependencies"))
    dev = open_split(f30k, "dev", inputs, limit=4)
    assert np.array_equal(dev.sidecar("boxes"), np.load(f30k.folder / "dev_ims_bbx.npy")[:20:5])
    stored = np.load(f30k.folder / "dev_aux_cap_bge_cpm_full_1.npy")
    assert np.array_equal(dev.sidecar("descriptions_dagger"), stored[:20])
    assert dev.sidecar("caption_vectors").shape == (20, 8)
    assert dev.sidecar("dependencies")[-1, 0] == 19
    with pytest.raises(DataError, match="was not asked for"):
        dev.sidecar("clip_images")


def test_only_what_is_asked_for_is_opened(f30k):
    for name in ("train_ims_bbx.npy", "train_caps.json", "train_cap_bge.npy"):
        (f30k.folder / name).write_bytes(b"broken")
    assert open_split(f30k, "train", WORDS).pairs([0]).images.regions is not None
    (f30k.folder / "train_ims.npy").unlink()
    only_text = open_split(f30k, "train", Inputs(regions=False, text=Words())).pairs([0])
    assert only_text.images.regions is None
    assert only_text.texts.words is not None
    assert open_split(f30k, "dev", REGIONS).texts([0]).words is None


def test_the_vocabulary_file_is_found_and_else_words_are_counted(tmp_path):
    folder = write_f30k(tmp_path)
    name = "f30k_precomp_vocab.json"
    full = open_dataset("f30k", tmp_path).vocabulary(Words())
    assert len(full) == 27
    assert full.words[-1] == "<mask>"
    shutil.rmtree(tmp_path / "vocab")
    for place in (tmp_path / "f30k" / "vocab", folder, folder.parent):
        write_vocabulary(place / name)
        assert open_dataset("f30k", tmp_path).vocabulary(Words(mask_token=False)).words == full.words[:-1]
        (place / name).unlink()
    counted = open_dataset("f30k", tmp_path).vocabulary(Words(min_count=30, mask_token=False))
    assert set(counted.words[4:]) == {"a", "near", "the", "."}
    own = open_split(open_dataset("f30k", tmp_path), "train", WORDS, vocabulary=counted).pairs(range(60))
    assert own.texts.words.max() < len(counted)


def test_ready_made_word_ids_are_read_if_asked_for(f30k):
    (f30k.folder / "train_precaps_stan.txt").write_text("1,5,6,2\n" * 60)
    asked = open_split(f30k, "train", Inputs(text=Words(precomputed=True)))
    assert asked.texts([0]).words.tolist() == [[1, 5, 6, 2]]
    assert open_split(f30k, "train", WORDS).texts([0]).words.shape[1] == 10
    assert open_split(f30k, "dev", Inputs(text=Words(precomputed=True))).texts([0]).words.shape[1] == 10


def test_missing_files_are_listed_one_sentence_each(f30k):
    inputs = Inputs(text=Words(), image_sidecars=("boxes", "clip_images"), text_sidecars=("caption_vectors",))
    assert f30k.missing(inputs) == []
    for name in ("test_ims.npy", "dev_caps.txt", "train_clip_tiny_ims.npy", "test_cap_bge.npy", "train_ims_size.npy"):
        (f30k.folder / name).unlink()
    sentences = f30k.missing(inputs)
    names = ["train_ims_bbx.npy", "train_clip_", "dev_caps.txt", "test_ims.npy", "test_cap_bge.npy"]
    assert all(name in sentence for name, sentence in zip(names, sentences, strict=True))
    assert f30k.missing(inputs, ["dev"]) == [sentences[2]]
    assert f30k.missing(Inputs(regions=False), ["test"]) == []


def test_widths_come_from_headers(f30k):
    assert f30k.region_dim == 16
    assert f30k.size_of("caption_vectors") == 8
    assert f30k.size_of("factual_relations") == 16


def test_half_precision_features_come_as_float32(f30k):
    path = f30k.folder / "train_ims.npy"
    half = np.load(path).astype(np.float16)
    np.save(path, half)
    regions = open_split(f30k, "train", REGIONS).images([3, 1]).regions
    assert regions.dtype == torch.float32
    assert np.array_equal(regions.numpy(), half[[3, 1]].astype(np.float32))


def test_nan_in_features_is_named_when_its_image_is_read(f30k):
    path = f30k.folder / "dev_ims.npy"
    features = np.load(path)
    features[35, 2, 3] = np.nan
    np.save(path, features)
    dev = open_split(f30k, "dev", REGIONS)
    dev.images([0, 6])
    with pytest.raises(
        DataError, match=r"dev_ims\.npy, row 35: the features of image 1007 .*data check --dataset f30k"
    ):
        dev.images([0, 7])


def broken_features(folder, fault):
    path = folder / "train_ims.npy"
    features = np.load(path)
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        np.save(path, {"rows": features[:7], "type": features.astype(int), "axes": features[:, 0]}[fault])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("truncated", "is truncated"),
        ("rows", "holds 7 rows, but train_caps.txt has 60 captions of 12 images"),
        ("type", "holds int64; expected float32 or float16"),
        ("axes", "expected 3 axes"),
    ],
)
def test_broken_features_are_refused_in_one_sentence(f30k, fault, message):
    broken_features(f30k.folder, fault)
    with pytest.raises(DataError, match=message) as caught:
        open_split(f30k, "train", REGIONS)
    assert "train_ims.npy" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_splits_of_different_widths_are_refused(f30k):
    np.save(f30k.folder / "dev_ims.npy", np.zeros((60, 6, 9), np.float32))
    with pytest.raises(DataError, match=r"dev_ims\.npy holds features of 9 numbers, other splits of 16"):
        open_split(f30k, "dev", REGIONS)


def test_a_sidecar_asked_for_on_the_wrong_side_is_refused(f30k):
    with pytest.raises(DataError, match=r"caption_vectors describes each text, but is asked for as image input"):
        open_split(f30k, "train", Inputs(image_sidecars=("caption_vectors",)))


def test_the_fingerprint_changes_with_the_data_and_only_with_it(tmp_path):
    inputs = Inputs(text=Words(min_count=1), image_sidecars=("boxes",), text_sidecars=("dependencies",))

    def fingerprint(**changes) -> str:
        return open_split(open_dataset("f30k", tmp_path), "train", inputs, **changes).fingerprint()

    folder = write_f30k(tmp_path, regions=30)
    first = fingerprint()
    os.utime(folder / "train_ims.npy", (1, 1))
    assert fingerprint() == first
    assert fingerprint(limit=5) != first
    seen = {first}
    for name, old, new in (
        ("train_caps.txt", "near", "by"),
        ("train_ids.txt", "1003", "999"),
        ("train_caps.json", "[2, 3]", "[1, 3]"),
    ):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace(old, new, 1 if name.endswith("caps.txt") else -1))
        seen.add(fingerprint())
    for name in ("train_ims.npy", "train_ims_bbx.npy"):
        array = np.load(folder / name)
        array[7, 5, 0] += 1  # one number
        np.save(folder / name, array)
        seen.add(fingerprint())
    sizes = np.load(folder / "train_ims_size.npy")
    sizes["image_w"][3] += 1  # by which the boxes are divided
    np.save(folder / "train_ims_size.npy", sizes)
    seen.add(fingerprint())
    assert len(seen) == 7


def test_contents_name_what_has_changed(tmp_path):
    def contents() -> dict[str, str]:
        return open_split(open_dataset("f30k", tmp_path), "dev", WORDS).contents

    folder = write_f30k(tmp_path)
    before = contents()
    assert list(before) == ["captions", "image ids", "tokens", "features"]
    features = np.load(folder / "dev_ims.npy")
    features[-1, -1, -1] += 1
    np.save(folder / "dev_ims.npy", features)
    assert {name for name, value in contents().items() if value != before[name]} == {"features"}


def test_features_larger_than_memory_are_never_read_whole(tmp_path):
    folder = tmp_path / "f30k" / "precomp"
    folder.mkdir(parents=True)
    images = 300_001
    with open(folder / "train_ims.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (images, 36, 2048)}
        )
        file.truncate(file.tell() + images * 36 * 2048 * 4)  # 88 GB, no blocks on disk
    (folder / "train_caps.txt").write_text("a dog\n" * images)
    train = open_split(open_dataset("f30k", tmp_path), "train", Inputs(text=Words(min_count=1)))
    batch = train.pairs([images - 1, 0, 5], Augmentation(), Draws(0, 0))
    assert isinstance(train, Split)
    assert batch.images.regions.shape[0] == 3
    assert len(train.fingerprint()) == 16
