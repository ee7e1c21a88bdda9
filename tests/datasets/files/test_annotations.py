"""Captions of other people's files: Karpathy's and COCO's JSON, a CSV; what cannot be used is named with its place."""

import json

import pytest

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.annotations import Annotation, collect, read_annotations

KARPATHY = {
    "images": [
        {"filename": "a.jpg", "filepath": "val2014", "cocoid": 9, "imgid": 0, "split": "restval",
         "sentences": [{"raw": "A dog\nruns .", "sentid": 5}, {"raw": "a dog", "sentid": 3}]},
        {"filename": "b.jpg", "filepath": "val2014", "cocoid": 4, "imgid": 1, "split": "test",
         "sentences": [{"raw": "a cat", "sentid": 8}]},
    ]
}  # fmt: skip
COCO = {
    "images": [{"id": 7, "file_name": "c.jpg"}, {"id": 2, "file_name": "d.jpg"}, {"id": 3, "file_name": "none.jpg"}],
    "annotations": [
        {"id": 30, "image_id": 2, "caption": "a d"},
        {"id": 10, "image_id": 7, "caption": "a c"},
        {"id": 11, "image_id": 2, "caption": "another d"},
    ],
}


def write(tmp_path, content, name="file.json"):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def shown(collection):
    return {
        split: [(p.image_id, p.file_name, p.captions, p.caption_ids) for p in pictures]
        for split, pictures in collection.splits.items()
    }


def test_karpathys_restval_is_training_and_captions_stand_in_one_line(tmp_path):
    assert shown(collect(read_annotations(write(tmp_path, KARPATHY)))) == {
        "train": [("9", "val2014/a.jpg", ["A dog runs .", "a dog"], [5, 3])],
        "test": [("4", "val2014/b.jpg", ["a cat"], [8])],
    }


def test_karpathys_flickr_has_ids_of_its_own_and_no_ids_of_captions(tmp_path):
    image = {"filename": "f.jpg", "imgid": 3, "split": "val", "sentences": [{"raw": "x", "sentid": 15}]}
    assert shown(collect(read_annotations(write(tmp_path, {"images": [image]})))) == {
        "dev": [("3", "f.jpg", ["x"], None)]
    }


def test_cocos_captions_go_to_the_split_that_is_named_in_the_order_of_the_images(tmp_path):
    path = write(tmp_path, COCO)
    assert shown(collect(read_annotations(path, "test"))) == {
        "test": [("7", "c.jpg", ["a c"], [10]), ("2", "d.jpg", ["a d", "another d"], [30, 11])]
    }
    with pytest.raises(DataError, match=r"annotations\[1\] says no split; name it before the file: --from test=FILE"):
        collect(read_annotations(path))
    path.write_text(json.dumps({**COCO, "images": COCO["images"][1:]}))
    with pytest.raises(DataError, match=r"annotations\[1\] is of image 7, which is not among the images"):
        collect(read_annotations(path, "test"))


def test_a_list_of_pairs_names_pictures_or_numbers_them(tmp_path):
    pairs = [
        {"section": "Arts", "image_id": 100000004, "caption": "a stage", "headline": "b"},
        {"image": "x/2.png", "image_id": 5, "caption": "a dog"},
        {"image": "https://a.org/7.jpg", "image_id": "7", "caption": "a cat"},
        {"image_id": 100000004, "caption": "the stage"},
    ]
    path = write(tmp_path, pairs)
    assert shown(collect(read_annotations(path, "test"))) == {
        "test": [
            ("0", "100000004.jpg", ["a stage", "the stage"], None),
            ("1", "x/2.png", ["a dog"], None),
            ("2", "7.jpg", ["a cat"], None),
        ]
    }
    with pytest.raises(DataError, match=r"\[0\] says no split; name it before the file: --from test=FILE"):
        collect(read_annotations(path))
    path = write(tmp_path, [{"image": n, "caption": "x", "split": s} for n, s in enumerate(("train", "valid", "test"))])
    assert list(collect(read_annotations(path)).splits) == ["train", "dev", "test"]


@pytest.mark.parametrize(("name", "comma"), [("file.csv", ","), ("file.tsv", "\t")])
def test_a_csv_names_its_columns_and_rows_of_a_picture_may_lie_apart(tmp_path, name, comma):
    rows = ["Split;image;caption", 'train;x/1.jpg;"one, two\nthree"', "test;2.jpg;four", "train;x/1.jpg;five"]
    path = write(tmp_path, "\ufeff" + "\n".join(rows).replace(";", comma), name)
    assert shown(collect(read_annotations(path))) == {
        "train": [("0", "x/1.jpg", ["one, two three", "five"], None)],
        "test": [("1", "2.jpg", ["four"], None)],
    }


def test_ids_of_a_csv(tmp_path):
    path = write(tmp_path, "image,caption,image_id,caption_id\na.jpg,x,i-7,41\n", "file.csv")
    assert shown(collect(read_annotations(path, "dev"))) == {"dev": [("i-7", "a.jpg", ["x"], [41])]}


def rows(*entries):
    return [Annotation(name, caption, split, f"row {i}") for i, (name, caption, split) in enumerate(entries)]


def test_repeated_captions_are_counted_and_kept_and_surplus_ones_left_out():
    entries = rows(("a", "x", "train"), ("a", "x", "train"), ("a", "y", "train"), ("b", "x", "test"))
    found = collect(entries)
    assert found.splits["train"][0].captions == ["x", "x", "y"]
    assert found.notes == ["1 captions repeat one of the same picture; they are kept."]
    cut = collect(entries, at_most=1)
    assert [p.captions for pictures in cut.splits.values() for p in pictures] == [["x"], ["x"]]
    assert cut.notes == ["2 captions are left out: 1 per picture are kept."]


@pytest.mark.parametrize(
    "name", ["../a.jpg", "x/../../a.jpg", "/etc/a.jpg", "C:\\a.jpg", "..\\a.jpg", "\\\\host\\a", " ", ".", "a\n.jpg"]
)
def test_names_that_lead_out_of_the_folder_are_refused(name):
    with pytest.raises(DataError, match=r"row 0: .* is no file name below the folder"):
        collect(rows((name, "x", "train")))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("a", "x", "train"), ("b", "x", "trian")], "row 1: split 'trian' is unknown; write train, dev or test"),
        ([("a", " \n", "train")], "row 0: the caption of a is empty"),
        ([("a", "x", "train"), ("./a", "y", "test")], "row 1: a is in test, but before it was in train"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(entries, message):
    with pytest.raises(DataError, match=message):
        collect(rows(*entries))


def test_two_pictures_of_one_id_are_refused():
    both = [Annotation(name, "x", "train", "row", image_id="1") for name in ("a", "b")]
    with pytest.raises(DataError, match="row: b has the id 1 of a"):
        collect(both)
    with pytest.raises(DataError, match="row: a has the id 2, but before 1"):
        collect([both[0], Annotation("a", "y", "train", "row", image_id="2")])


def broken(change):
    content = json.loads(json.dumps(KARPATHY))
    change(content["images"][1])
    return content


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("{", "f.json", "f.json cannot be read"),
        ("{}", "f.json", "is no list, and has no list 'images'"),
        (["a"], "f.json", r"\[0\] is \"a\", but has to have 'caption'"),
        ([{"headline": "x", "image": 1}], "f.json", r"\[0\] has \"headline\", \"image\", but has to have 'caption'"),
        ([{"caption": "x"}], "f.json", r"\[0\] has \"caption\", but has to have .* 'image' or 'image_id'"),
        ([{"image": 1, "caption": ["x"]}], "f.json", r"\[0\]: 'caption' is \[\"x\"\], which is no str"),
        ([{"image": 1, "caption": "x", "split": 3}], "f.json", r"\[0\]: 'split' is 3, which is no str"),
        ([{"image": 1.5, "caption": "x"}], "f.json", r"its picture is 1.5, which is no file name and no number"),
        ([{"image": True, "caption": "x"}], "f.json", r"its picture is true, which is no file name"),
        ([{"image": "http://a/b", "caption": "x"}], "f.json", r"its picture is \"http://a/b\", which is no file"),
        ([{"image": 10**300, "caption": "x", "split": "test"}], "f.json", "no longer than 255 bytes"),
        ('[{"image": ' + "9" * 5000 + "}]", "f.json", "f.json cannot be read"),
        ([{"image": "\ud800", "caption": "x", "split": "test"}], "f.json", "is no file name"),
        ([{"image": 1, "caption": "\udc00", "split": "test"}], "f.json", "the caption of 1.jpg has half"),
        ([{"image": "../a", "caption": "x", "split": "test"}], "f.json", "'../a.jpg' is no file name below"),
        ("[" * 100_000, "f.json", "f.json cannot be read"),
        (broken(lambda i: i.pop("split")), "f.json", r"images\[1\] has no 'split'"),
        (broken(lambda i: i.update(filename=3)), "f.json", r"images\[1\]: 'filename' is 3, which is no str"),
        (broken(lambda i: i.update(sentences=["x"])), "f.json", r"images\[1\] has no 'raw'"),
        (broken(lambda i: i.update(cocoid="4\n5")), "f.json", "is no image id"),
        ("picture,text\n", "f.csv", "has the columns picture, text, but no image and no caption"),
        ("", "f.csv", "has the columns none"),
        ("image,caption,split\na.jpg,one,two,train\n", "f.csv", "line 2 has not as many cells"),
        ("image,caption,split\na.jpg\n", "f.csv", "line 2 has not as many cells"),
        ("image,caption,split\na.jpg,one\n", "f.csv", "line 2 has not as many cells"),
        ('image,caption,split\na.jpg,"one,train\n', "f.csv", "cannot be read"),
        ("image,caption,caption_id\na.jpg,x,one\n", "f.csv", "line 2: caption_id 'one' is no whole number"),
    ],
)
def test_damaged_files_are_named_with_the_place(tmp_path, content, name, message):
    with pytest.raises(DataError, match=message):
        collect(read_annotations(write(tmp_path, content, name)))


def test_a_split_before_the_file_is_for_files_that_say_none(tmp_path):
    with pytest.raises(DataError, match="says its split itself"):
        collect(read_annotations(write(tmp_path, KARPATHY), "test"))
    with pytest.raises(DataError, match="cannot be read"):
        collect(read_annotations(tmp_path / "none.json"))
