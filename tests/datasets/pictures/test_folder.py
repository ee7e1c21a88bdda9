"""Pictures of a data set: the file of each image, in the order of the split; what is missing or broken is named."""

import json

import numpy as np
import pytest
from PIL import ExifTags, Image

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.pictures.folder import find_pictures, open_picture
from itm_harness.datasets.pictures.grid import picture_sizes
from itm_harness.datasets.precomp import open_dataset
from itm_tests.trees import write_coco, write_f30k, write_pictures


@pytest.fixture
def folder(tmp_path):
    folder = write_f30k(tmp_path, 4)
    ids = [str(image) for image in (1003, 1000, 1002, 1001) for _ in range(5)]
    (folder / "test_ids.txt").write_text("\n".join(ids) + "\n")
    write_pictures(folder, "test")
    return folder


@pytest.fixture
def names(folder):
    """The names of test's pictures, found by the data set."""

    def call(images=None):
        return [path.name for path in find_pictures(open_dataset("f30k", folder.parent.parent), "test", images)]

    return call


def test_one_picture_per_image_in_the_order_of_the_ids_file(names, folder):
    assert names() == ["test_1003.jpg", "test_1000.png", "test_1002.jpg", "test_1001.png"]
    mapping = folder.parent / "id_mapping.json"
    (folder / "test_ids.txt").write_text("".join(f"{image}\n" * 5 for image in (2, 0, 3, 1)))
    mapping.write_text(json.dumps(sorted(json.loads(mapping.read_text()).values())))  # a list, by position
    assert names() == ["test_1002.jpg", "test_1000.png", "test_1003.jpg", "test_1001.png"]


def test_beside_a_folder_named_precomp_the_data_sets_own_folder_is_looked_at_first(tmp_path):
    folder = write_coco(tmp_path, 4)
    write_pictures(folder, "train")  # beside coco_precomp: may be another data set's
    own = tmp_path / "coco"
    (own / "images").mkdir(parents=True)
    (own / "id_mapping.json").write_text(json.dumps({str(1000 + i): f"own_{i}.png" for i in range(4)}))
    for i in range(4):
        Image.new("RGB", (4, 4)).save(own / "images" / f"own_{i}.png")
    found = find_pictures(open_dataset("coco", tmp_path), "train")
    assert found == [own / "images" / f"own_{i}.png" for i in range(4)]


def test_missing_pictures_are_counted_and_the_first_are_named(names, folder, tmp_path):
    images = folder.parent / "images"
    (images / "test_1000.png").unlink()
    with pytest.raises(DataError, match=r"images lacks 1 of the 4 pictures of test \(test_1000.png\); .* --images DIR"):
        names()
    with pytest.raises(DataError) as error:
        names(tmp_path / "elsewhere")
    assert "elsewhere lacks 4 of the 4 pictures of test (test_1003.jpg, test_1000.png, test_1002.jpg, ...)" in str(
        error.value
    )
    images.rename(tmp_path / "elsewhere")
    Image.new("RGB", (4, 4)).save(tmp_path / "elsewhere" / "test_1000.png")
    assert len(names(tmp_path / "elsewhere")) == 4


def turned(path, orientation):
    """Save a picture, red on its left, as a camera that was held otherwise does."""
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16, 0] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_pictures_stand_upright(tmp_path, suffix):
    plain = open_picture(turned(tmp_path / f"1.{suffix}", 1))
    left = open_picture(turned(tmp_path / f"6.{suffix}", 6))  # to be turned by 90 degrees to the right
    assert (plain.size, left.size) == ((32, 16), (16, 32))
    assert [picture.getpixel((2, 2))[0] > 200 for picture in (plain, left)] == [True, True]
    assert plain.getpixel((29, 2))[0] < 50  # red on the left
    assert left.getpixel((13, 2))[0] > 200  # red above
    assert left.getpixel((2, 29))[0] < 50
    sizes = picture_sizes([tmp_path / f"{orientation}.{suffix}" for orientation in (1, 6)])
    assert sizes.tolist() == [[32, 16], [16, 32]]


def test_a_note_of_the_camera_that_cannot_be_read_says_nothing(tmp_path):
    Image.new("RGB", (32, 16)).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff")
    assert open_picture(tmp_path / "a.jpg").size == (32, 16)
    assert picture_sizes([tmp_path / "a.jpg"]).tolist() == [[32, 16]]


def test_ids_without_a_picture(names, folder):
    mapping = folder.parent / "id_mapping.json"
    content = json.loads(mapping.read_text())
    del content["1002"]
    mapping.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"id_mapping.json has no picture for 1 of the 4 image ids of test \(1002\)"):
        names()


@pytest.mark.parametrize("text", ['{"1000": 3}', "3", "{"])
def test_a_mapping_of_another_form(names, folder, text):
    (folder.parent / "id_mapping.json").write_text(text)
    with pytest.raises(DataError, match=r"id_mapping.json (is neither a mapping|cannot be read as JSON)"):
        names()


def test_no_mapping(names, folder):
    (folder.parent / "id_mapping.json").unlink()
    with pytest.raises(DataError, match=r"there is no .*precomp/id_mapping.json nor .*f30k/id_mapping.json"):
        names()


@pytest.mark.parametrize("ids", [None, "".join(f"{line}\n" for line in range(20))])
def test_positions_are_not_taken_for_ids(names, folder, ids):
    path = folder / "test_ids.txt"
    path.unlink()
    if ids:  # numbers of lines
        path.write_text(ids)
    (folder.parent / "id_mapping.json").write_text(json.dumps([f"test_{1000 + i % 4}.png" for i in range(20)]))
    with pytest.raises(DataError, match=r"test_ids.txt does not tell the ids of the 4 images of test"):
        names()


def test_every_mode_is_read_as_rgb(tmp_path):
    pixels = np.random.default_rng(0).integers(256, size=(8, 9, 3), dtype=np.uint8)
    for mode in ("RGB", "RGBA", "L", "P"):
        Image.fromarray(pixels).convert(mode).save(tmp_path / f"{mode}.png")
        assert open_picture(tmp_path / f"{mode}.png").mode == "RGB"
    np.testing.assert_array_equal(np.asarray(open_picture(tmp_path / "RGB.png")), pixels)


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.jpg")
    half = (tmp_path / "a.jpg").read_bytes()[:1500]
    for name, content in {"half.jpg": half, "text.jpg": b"<html>", "empty.png": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name} cannot be decoded as a picture"):
            open_picture(tmp_path / name)


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/secret.jpg", "a/../../secret.jpg"])
def test_names_that_lead_out_of_the_folder(names, folder, name):
    mapping = folder.parent / "id_mapping.json"
    mapping.write_text(json.dumps({**json.loads(mapping.read_text()), "1002": name}))
    with pytest.raises(DataError, match=r"id_mapping.json: 1 file names lead out of .*images \(.*secret.jpg\)"):
        names()


@pytest.mark.parametrize("of", ["file", "folder"])
def test_links_that_lead_out_of_the_folder(names, folder, tmp_path, of):
    images, outside = folder.parent / "images", tmp_path / "outside"
    outside.mkdir()
    (images / "test_1002.jpg").rename(outside / "test_1002.jpg")
    if of == "file":
        (images / "test_1002.jpg").symlink_to(outside / "test_1002.jpg")
    else:
        (images / "more").symlink_to(outside)
        mapping = folder.parent / "id_mapping.json"
        mapping.write_text(json.dumps({**json.loads(mapping.read_text()), "1002": "more/test_1002.jpg"}))
    with pytest.raises(DataError, match=r"images: 1 links lead out of it|images: 2 links lead out of it"):
        names()


def test_the_whole_folder_may_be_a_link(names, folder, tmp_path):
    images = folder.parent / "images"
    images.rename(tmp_path / "elsewhere")
    images.symlink_to(tmp_path / "elsewhere")
    assert len(names()) == 4


def test_a_data_sets_own_yaml_names_the_folder(folder, tmp_path):
    (folder.parent / "images").rename(tmp_path / "photos")
    text = f"extends: f30k\nname: mine\nfolder: {folder}\nimages: photos\nbenchmarks: [{{name: mine, images: 4}}]\n"
    (tmp_path / "mine.yaml").write_text(text)
    found = find_pictures(open_dataset(str(tmp_path / "mine.yaml"), tmp_path / "nowhere"), "test")
    assert found[0] == tmp_path / "photos" / "test_1003.jpg"


def test_a_picture_too_large_to_be_decoded(tmp_path):
    Image.new("1", (9_440, 9_440)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 20_000
    with pytest.raises(DataError, match=r"bomb.png cannot be decoded as a picture \(9,440 x 9,440 pixels are too many"):
        open_picture(tmp_path / "bomb.png")


def test_formats_that_start_a_program_are_not_opened(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a.jpg cannot be decoded"):
        open_picture(tmp_path / "a.jpg")
