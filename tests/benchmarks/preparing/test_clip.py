"""prepare --what clip: vectors beside the features, never of two models, and what reads them afterwards."""

import sys

import numpy as np
import pytest

from itm_harness.benchmarks.commands import app as harness
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.clip_encoder import CLIPEncoder
from itm_harness.benchmarks.preparing.prepare import PrepareOptions, prepare
from itm_harness.benchmarks.runs.sidecar_files import require_one_encoder
from itm_harness.datasets.batch import Inputs
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import manifest_path, read_manifest
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import open_split
from itm_tests.models import save_tiny_clip
from itm_tests.trees import write_f30k, write_pictures

IMAGES = 6
SPLITS = ("train", "dev", "test")
CLIP = Inputs(regions=False, image_sidecars=("clip_images",), text_sidecars=("clip_texts",))


@pytest.fixture
def root(tmp_path):
    """f30k with pictures and without CLIP vectors; the ids of test come in another order than their numbers."""
    root = tmp_path / "data"
    folder = write_f30k(root, IMAGES)
    for number, split in enumerate(SPLITS):
        ids = [100 * number + image for image in (range(IMAGES) if split != "test" else (3, 0, 5, 1, 4, 2))]
        (folder / f"{split}_ids.txt").write_text("".join(f"{image}\n" * 5 for image in ids))
        write_pictures(folder, split, number)
    return root


@pytest.fixture
def folder(root):
    return root / "f30k" / "precomp"


@pytest.fixture
def make(root, quiet, tiny_clip):
    """Run prepare --what clip: what it wrote, by file name."""
    tiny = {"clip_model": str(tiny_clip[0]), "clip_weights": str(tiny_clip[1])}

    def call(**options):
        written = prepare(PrepareOptions("f30k", root, **{"what": ["clip"], **tiny, **options}), quiet)
        return {path.name for path in written}

    return call


def test_a_row_per_image_and_per_caption_in_their_order(make, root, folder, tiny_clip):
    assert make() == {f"{split}_clip_tiny-clip_{side}.npy" for split in SPLITS for side in ("ims", "caps")}
    encoder = CLIPEncoder(*map(str, tiny_clip))
    pictures = [folder.parent / "images" / f"test_{200 + i}" for i in (3, 0, 5, 1, 4, 2)]
    pictures = [next(path.parent.glob(f"{path.name}.*")) for path in pictures]
    shown, captions = encoder.encode_pictures(pictures), (folder / "test_caps.txt").read_text().splitlines()
    ims, caps = (np.load(folder / f"test_clip_tiny-clip_{side}.npy") for side in ("ims", "caps"))
    assert ims.dtype == caps.dtype == np.float32
    np.testing.assert_allclose(ims, shown, atol=1e-5)
    np.testing.assert_allclose(caps, encoder.encode(captions), atol=1e-5)
    data = open_dataset("f30k", root)
    assert data.missing(CLIP) == []
    batch = open_split(data, "test", CLIP).pairs(np.arange(5 * IMAGES))
    np.testing.assert_array_equal(batch.images.sidecars["clip_images"].numpy(), np.repeat(ims, 5, axis=0))
    np.testing.assert_array_equal(batch.texts.sidecars["clip_texts"].numpy(), caps)


def test_a_second_time_nothing_is_made_and_other_weights_or_pictures_are_made_anew(
    make, root, folder, quiet, tiny_clip, tmp_path
):
    make(splits=["test"])
    assert make(splits=["test"]) == set()
    told = quiet.file.getvalue()
    assert "test_clip_tiny-clip_ims.npy: already made, 6 x 24, CLIP (tiny-clip, tiny-0.safetensors)" in told
    picture = next((folder.parent / "images").glob("test_200.*"))
    picture.write_bytes((folder.parent / "images" / "dev_100.jpg").read_bytes())
    assert make(splits=["test"]) == {"test_clip_tiny-clip_ims.npy"}
    other = save_tiny_clip(tmp_path / "other", seed=1)[1]
    assert len(make(splits=["test"], clip_weights=str(other))) == 2
    manifest = read_manifest(folder / "test_clip_tiny-clip_caps.npy")
    assert (manifest.label, manifest.fitted) == ("CLIP (tiny-clip, tiny-1.safetensors)", True)
    assert str(tmp_path) not in manifest_path(folder / "test_clip_tiny-clip_ims.npy").read_text()


def test_pictures_and_captions_of_different_weights_are_not_compared(make, root, folder, tmp_path):
    make(splits=["test"])
    require_one_encoder(open_dataset("f30k", root), CLIP, ["test"])
    caps = folder / "test_clip_tiny-clip_caps.npy"
    kept = [(path, path.read_bytes()) for path in (caps, manifest_path(caps))]
    make(splits=["test"], clip_weights=str(save_tiny_clip(tmp_path / "other", seed=1)[1]))
    for path, content in kept:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"test_clip_tiny-clip_\w+.npy and .* are not of one encoder.*--what clip\.$"):
        require_one_encoder(open_dataset("f30k", root), CLIP, ["test"])


def test_vectors_of_another_model_or_of_somebody_else_are_left_alone(make, folder):
    own, other = (folder / f"dev_clip_{model}_ims.npy" for model in ("tiny-clip", "RN50"))
    np.save(other, np.ones((IMAGES, 24), np.float32))
    with pytest.raises(RunError, match=r"dev_clip_RN50_ims.npy is there: vectors of another CLIP model"):
        make(force=True)
    other.rename(own)
    with pytest.raises(RunError, match=r"dev_clip_tiny-clip_ims.npy is there, and no manifest"):
        make()
    assert sorted(path.name for path in folder.glob("*_clip_*")) == [own.name]
    assert len(make(force=True)) == 6


def test_missing_pictures_are_told_split_by_split_before_anything_is_made(make, folder):
    for name in ("train_0.jpg", "train_4.jpg", "test_203.jpg"):
        (folder.parent / "images" / name).unlink()
    with pytest.raises(DataError) as error:
        make(clip_weights="not looked at yet")
    train, test = str(error.value).splitlines()
    assert "images lacks 2 of the 6 pictures of train (train_0.jpg, train_4.jpg)" in train
    assert "lacks 1 of the 6 pictures of test (test_203.jpg)" in test
    assert not list(folder.glob("*_clip_*"))


def test_a_broken_picture_is_named_and_leaves_no_half_file(make, folder):
    (folder.parent / "images" / "dev_102.jpg").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"dev_102.jpg cannot be decoded"):
        make(splits=["dev"])
    assert not [path for path in folder.iterdir() if "clip" in path.name and path.name[0] != "."]


def test_from_pictures_to_a_zero_shot_record(root, folder, tiny_clip, tmp_path, monkeypatch, capsys):
    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["harness.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            harness.main()
        out = capsys.readouterr()
        assert not stop.value.code, out.err
        return out.out

    data = ("--dataset", "f30k", "--data-root", root)
    (folder.parent / "images").rename(tmp_path / "photos")
    clip = ("--clip-model", tiny_clip[0], "--clip-weights", tiny_clip[1], "--images", tmp_path / "photos")
    told = command("prepare", *data, "--what", "clip", *clip)
    assert "test_clip_tiny-clip_ims.npy: 6 x 24, CLIP (tiny-clip, tiny-0.safetensors)" in told
    command("run", "--method", "clip", *data, "--output", tmp_path, "--device", "cpu")
    (record,) = (tmp_path / "results" / "local" / "records").glob("*.json")
    assert '"CLIP (tiny-clip, tiny-0.safetensors)"' in record.read_text()
    assert "simulated_inputs" not in record.read_text()
