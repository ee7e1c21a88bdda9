"""Miniature f30k and coco trees with the real file names, for tests of readers, recipes and runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

ADJECTIVES = ["red", "young", "small", "wet", "old"]
NOUNS = ["man", "dog", "girl", "horse", "boat", "car"]
VERBS = ["runs", "stands", "waits"]
PLACES = ["beach", "street", "field", "house"]
PICTURE = (500, 375)  # width, height


def write_f30k(
    root: Path, images: int = 12, regions: int = 6, dim: int = 16, seed: int = 0, vectors: int | None = None
) -> Path:
    """f30k/precomp with `images` images per split; dev and test features are stored once per caption.

    vectors: also write the vector sidecars of VSD, VSSR and CLIP, so many numbers wide. Returns the precomp folder.
    """
    rng = np.random.default_rng([30, seed])
    folder = root / "f30k" / "precomp"
    for split in ("train", "dev", "test"):
        write_split(folder, split, rng, images, regions, dim, repeated=split != "train", vectors=vectors)
    write_vocabulary(root / "vocab" / "f30k_precomp_vocab.json")
    return folder


def write_coco(
    root: Path,
    images: int = 12,
    regions: int = 6,
    dim: int = 16,
    seed: int = 0,
    testall: int = 20,
    vectors: int | None = None,
) -> Path:
    """coco_precomp with dev features stored once per caption, `testall` of 20 images and `test`, its first five."""
    rng = np.random.default_rng([14, seed])
    folder = root / "coco_precomp"
    write_split(folder, "train", rng, images, regions, dim, vectors=vectors)
    write_split(folder, "dev", rng, images, regions, dim, repeated=True, vectors=vectors)
    write_split(folder, "testall", rng, testall, regions, dim, vectors=vectors)
    for name, rows in (("ims.npy", 5), ("ims_bbx.npy", 5), ("ims_size.npy", 5)):
        np.save(folder / f"test_{name}", np.load(folder / f"testall_{name}")[:rows])
    for name in ("caps.txt", "ids.txt"):
        lines = (folder / f"testall_{name}").read_text().splitlines(keepends=True)
        (folder / f"test_{name}").write_text("".join(lines[:25]))
    write_vocabulary(root / "vocab" / "coco_precomp_vocab.json")
    return folder


def write_split(
    folder: Path,
    split: str,
    rng: np.random.Generator,
    images: int,
    regions: int,
    dim: int,
    repeated: bool = False,
    vectors: int | None = None,
) -> None:
    """One split: features that follow the words of the captions, boxes in pixels, sizes, dependencies."""
    folder.mkdir(parents=True, exist_ok=True)
    features, captions = scenes(rng, images, regions, dim)
    each = 5 if repeated else 1
    save(folder / f"{split}_ims.npy", np.repeat(features, each, axis=0))
    save(folder / f"{split}_ims_bbx.npy", np.repeat(pixel_boxes(rng, images, regions), each, axis=0))
    sizes = np.array([PICTURE] * images * each, dtype="i4").view([("image_w", "i4"), ("image_h", "i4")])
    save(folder / f"{split}_ims_size.npy", sizes.reshape(-1))
    (folder / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")
    (folder / f"{split}_ids.txt").write_text("".join(f"{1000 + i}\n" for i in range(images) for _ in range(5)))
    (folder / f"{split}_caps.json").write_text(json.dumps([dependencies(c) for c in captions]))
    if vectors:
        write_vectors(folder, split, rng, images, vectors)


def scenes(rng: np.random.Generator, images: int, regions: int, dim: int) -> tuple[np.ndarray, list[str]]:
    """Features (images, regions, dim) float32 and five captions an image, made of the same words."""
    code = np.random.default_rng(0).standard_normal((len(NOUNS), len(PLACES), dim))
    nouns, places = rng.integers(len(NOUNS), size=images), rng.integers(len(PLACES), size=images)
    features = code[nouns, places][:, None] + 0.5 * rng.standard_normal((images, regions, dim))
    captions = [
        f"A {rng.choice(ADJECTIVES)} {NOUNS[noun]} {rng.choice(VERBS)} near the {PLACES[place]} ."
        for noun, place in zip(nouns, places, strict=True)
        for _ in range(5)
    ]
    return features.astype(np.float32), captions


def pixel_boxes(rng: np.random.Generator, images: int, regions: int) -> np.ndarray:
    """(images, regions, 4) float32 corners inside the picture, in pixels."""
    corners = rng.random((images, regions, 2, 2), np.float32)
    low, high = corners.min(axis=2), corners.max(axis=2)
    return (np.concatenate([low, high], axis=-1) * np.tile(PICTURE, 2)).astype(np.float32)


def dependencies(caption: str) -> list[list[int]]:
    """A chain: the first word is the root, every other word depends on the one before it."""
    return [[word, word + 1] for word in range(len(caption.split()))]


def write_vectors(folder: Path, split: str, rng: np.random.Generator, images: int, width: int) -> None:
    """The sidecars of VSD, VSSR and CLIP under their official names."""
    texts = 5 * images
    full = "cpm_full" if split == "train" else "cpm_full_1"
    names = ["aux_cap_bge_flor_det", f"aux_cap_bge_{full}", "cap_bge", "cap_bge_cpm", "clip_tiny_caps"]
    for name in names:
        save(folder / f"{split}_{name}.npy", unit(rng, texts, width))
    save(folder / f"{split}_clip_tiny_ims.npy", unit(rng, images, width))
    factual = folder / "factual"
    factual.mkdir(exist_ok=True)
    save(factual / f"{split}_caps_synthesis_florence_bge_det.npy", unit(rng, texts, width))
    save(factual / f"{split}_caps_bge_det.npy", unit(rng, texts, width))
    count = rng.integers(1, 4, size=texts)
    valid = np.arange(16) < count[:, None]  # (texts, 16)
    save(factual / f"{split}_caps_entities_bge.npy", unit(rng, texts, 16, width) * valid[:, :, None])
    relations = rng.integers(0, 3, size=(texts, 16, 16)) * (valid[:, :, None] & valid[:, None])
    save(factual / f"{split}_caps_relation_matrices_cls_bge.npy", relations.astype(np.int32))


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random float32 vectors of length 1."""
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def write_vocabulary(path: Path) -> None:
    """A SCAN vocabulary file of all words that the scenes use."""
    words = ["<pad>", "<start>", "<end>", "<unk>", "a", *ADJECTIVES, *NOUNS, *VERBS, "near", "the", *PLACES, "."]
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = {word: i for i, word in enumerate(words)}
    by_id = {str(i): word for word, i in ids.items()}
    path.write_text(json.dumps({"word2idx": ids, "idx2word": by_id, "idx": len(words)}))


def write_pictures(folder: Path, split: str, seed: int = 0) -> list[str]:
    """Random pictures of a split's image ids, of several sizes and formats, with id_mapping.json; their names.

    folder: the precomp folder. images/ and id_mapping.json lie beside it and are added to.
    """
    rng = np.random.default_rng([7, seed])
    images, mapping = folder.parent / "images", folder.parent / "id_mapping.json"
    images.mkdir(exist_ok=True)
    names = json.loads(mapping.read_text()) if mapping.exists() else {}
    ids = dict.fromkeys((folder / f"{split}_ids.txt").read_text().split())
    for i, image in enumerate(ids):
        names[image] = f"{split}_{image}.{'png' if i % 2 else 'jpg'}"
        pixels = rng.integers(256, size=(3, 4, 3) if i % 3 else (5, 2, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((48 + i, 40), Image.Resampling.NEAREST).save(images / names[image])
    mapping.write_text(json.dumps(names))
    return [names[image] for image in ids]


def save(path: Path, array: np.ndarray) -> None:
    """numpy.save without pickle."""
    np.save(path, array, allow_pickle=False)
