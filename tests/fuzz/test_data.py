"""Bad data files: arrays, captions, ids, boxes, sizes, dependencies, graphs, vocabularies, mappings, matrices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm_harness.benchmarks.protocol.matrix_file import evaluate_matrix_file
from itm_harness.datasets.files.annotations import collect, read_annotations
from itm_harness.datasets.files.arrays import as_batched
from itm_harness.datasets.files.manifest import manifest_path, read_manifest
from itm_harness.datasets.pictures.folder import find_pictures
from itm_harness.datasets.precomp import open_dataset, open_features
from itm_harness.datasets.sidecars import open_sidecar
from itm_harness.datasets.text.captions import read_layout
from itm_harness.datasets.text.graphs import read_graphs, relation_numbers
from itm_harness.datasets.text.tokens import SplitWords, read_vocabulary
from itm_tests.fuzz.answers import answered, fuzzed, slowly_fuzzed
from itm_tests.fuzz.inputs import VALUES, altered, damaged, npy, npy_files
from itm_tests.trees import write_f30k

FEATURES = npy(np.ones((3, 4, 5), np.float32))
BOXES = npy(np.linspace(0, 400, 12 * 6 * 4, dtype=np.float32).reshape(12, 6, 4))
CAPTIONS = "A red dog runs .\nTwo men, one dog.\n" * 5
JSON = st.builds(lambda value: json.dumps(value).encode(), VALUES)
TEXT = st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=300)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    write_f30k(root)
    return root


@fuzzed
@given(content=npy_files() | damaged(FEATURES) | st.binary(max_size=300))
def test_features(tmp_path, content):
    path = tmp_path / "train_ims.npy"
    path.write_bytes(content)

    def read():
        features = open_features(path)
        as_batched(features[:2, :2, :2])

    answered(read, path)


@fuzzed
@given(captions=damaged(CAPTIONS.encode()) | TEXT, ids=damaged(b"7\n7\n8\n8\n9\n9\n") | TEXT | st.none())
def test_captions_and_ids(tmp_path, captions, ids):
    paths = tmp_path / "train_caps.txt", tmp_path / "train_ids.txt"
    paths[0].write_bytes(captions)
    paths[1].unlink(missing_ok=True)
    if ids is not None:
        paths[1].write_bytes(ids)

    def read():
        layout = read_layout(*paths, feature_rows=2, repeated=False, per_image=5)
        words = SplitWords.of(layout.captions)
        tokens = words.tokens(words.vocabulary(1).with_mask())
        assert len(layout.image_of_text) == layout.n_texts == len(tokens.lengths)
        assert layout.image_of_text.max() < layout.n_images

    answered(read, tmp_path)


@fuzzed
@given(
    sidecar=st.sampled_from(["boxes", "image_sizes"]),
    content=npy_files() | damaged(BOXES) | damaged(npy(np.ones((12, 2), np.int32))),
)
def test_boxes_and_sizes(tree, sidecar, content):
    dataset = open_dataset("f30k", tree)
    name = {"boxes": "train_ims_bbx.npy", "image_sizes": "train_ims_size.npy"}[sidecar]
    kept = (dataset.folder / name).read_bytes()
    (dataset.folder / name).write_bytes(content)

    def read():
        opened = open_sidecar(dataset.spec, "boxes", dataset.folder, "train", dataset.layout("train"))
        opened.gather(opened.rows[:2])

    try:
        answered(read, dataset.folder)
    finally:
        (dataset.folder / name).write_bytes(kept)


@fuzzed
@given(content=altered([[[0, 1], [1, 2]]] * 60).map(lambda v: json.dumps(v).encode()) | JSON | TEXT)
def test_dependencies(tree, content):
    dataset = open_dataset("f30k", tree)
    path = dataset.folder / "train_caps.json"
    kept = path.read_bytes()
    path.write_bytes(content)

    def read():
        opened = open_sidecar(dataset.spec, "dependencies", dataset.folder, "train", dataset.layout("train"))
        opened.gather(opened.rows[:2])

    try:
        answered(read, path)
    finally:
        path.write_bytes(kept)


GRAPHS = [
    {
        "caption": "a dog",
        "entities": [{"name": "dog", "attributes": ["red"]}, {"name": "man", "attributes": []}],
        "relations": [{"subject": 0, "relation": "near", "object": 1}],
    }
] * 2


@fuzzed
@given(content=altered(GRAPHS).map(lambda v: json.dumps(v).encode()) | JSON | TEXT)
def test_scene_graphs(tmp_path, content):
    path = tmp_path / "train_graphs.json"
    path.write_bytes(content)
    answered(lambda: relation_numbers(read_graphs(path, ["a dog", "a dog"])), path)


VOCABULARY = {"word2idx": {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3, "dog": 4}, "idx": 5}


@fuzzed
@given(content=altered(VOCABULARY).map(lambda v: json.dumps(v).encode()) | JSON | TEXT)
def test_vocabularies(tmp_path, content):
    path = tmp_path / "vocab.json"
    path.write_bytes(content)
    answered(lambda: read_vocabulary(path), path)


@fuzzed
@given(content=altered({"1000": "a.jpg", "1001": "b.jpg"}).map(lambda v: json.dumps(v).encode()) | JSON | TEXT)
def test_mappings_of_pictures(tree, content):
    dataset = open_dataset("f30k", tree)
    path = dataset.folder / "id_mapping.json"
    path.write_bytes(content)
    answered(lambda: find_pictures(dataset, "train"), dataset.folder)


MANIFEST = {"encoder": "e", "fitted": True, "texts": "t", "state": "s", "shape": [3, 4, 5], "dtype": "float32"}


@fuzzed
@given(content=altered(MANIFEST).map(lambda v: json.dumps(v).encode()) | JSON | TEXT)
def test_manifests(tmp_path, content):
    path = tmp_path / "train_captions.npy"
    path.write_bytes(FEATURES)
    manifest_path(path).write_bytes(content)
    answered(lambda: read_manifest(path))


@slowly_fuzzed
@given(content=npy_files() | damaged(npy(np.ones((4, 6), np.float32))) | st.binary(max_size=200))
def test_similarity_matrices(tmp_path, content):
    path = tmp_path / "sims.npy"
    path.write_bytes(content)
    assert answered(lambda: evaluate_matrix_file(path, "f30k-1k"), path)


KARPATHY = {
    "images": [
        {
            "filename": "a.jpg",
            "filepath": "x",
            "split": "train",
            "imgid": 0,
            "sentences": [{"raw": "a dog", "sentid": 1}],
        },
        {"filename": "b.jpg", "split": "test", "imgid": 1, "sentences": [{"raw": "a man"}, {"raw": "two men"}]},
    ]
}
COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
    "annotations": [{"id": 1, "image_id": 7, "caption": "a dog"}, {"id": 2, "image_id": 8, "caption": "a man"}],
}
PAIRS = [{"image_id": 7, "caption": "a dog", "split": "train"}, {"image": "b.jpg", "caption": "a man", "split": "test"}]
TABLE = b'image,caption,split,image_id\na.jpg,a dog,train,7\nb.jpg,"a man, two dogs",test,8\n'


@fuzzed
@given(
    content=altered(KARPATHY).map(lambda v: json.dumps(v).encode())
    | altered(COCO).map(lambda v: json.dumps(v).encode())
    | altered(PAIRS).map(lambda v: json.dumps(v).encode())
    | JSON
    | TEXT,
    split=st.sampled_from([None, "train"]),
)
def test_annotations(tmp_path, content, split):
    path = tmp_path / "dataset.json"
    path.write_bytes(content)
    answered(lambda: collect(read_annotations(path, split)), path)


@fuzzed
@given(content=damaged(TABLE) | TEXT | st.just(b"image,caption\n" + b'"' * 200_000))
def test_tables_of_captions(tmp_path, content):
    path = tmp_path / "captions.csv"
    path.write_bytes(content)
    answered(lambda: collect(read_annotations(path)), path)
