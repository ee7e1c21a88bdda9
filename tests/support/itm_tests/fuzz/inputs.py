"""Strategies for bad input: damaged bytes, strange text, wild JSON values, .npy headers that lie."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
from hypothesis import strategies as st

SIZES = st.sampled_from([-1, 0, 1, 2, 5, 36, 1_000_000, 10**15, 2**62, 2**63, 2**64, 10**30])
DTYPES = st.sampled_from(
    ["<f4", "<f2", ">f8", "<i8", "|b1", "|O", "<U5", "|S0", "<c8", "<M8[D]", "V16", "<f4,<i2", "f99", "", None, 7]
)
STRANGE_TEXT = st.text(max_size=40) | st.sampled_from(
    ["../../etc/passwd", "/etc/passwd", "a\0b", "<script>", "\x1b[31mred", "[bold]", "nan", "1e999", "-0", "é" * 300]
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.sampled_from([10**400, -1, 0])
    | st.floats() | STRANGE_TEXT
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRANGE_TEXT, inner, max_size=4), max_leaves=12
)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """A valid file with some bytes overwritten, cut off, or put in."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["overwrite", "cut", "insert", "repeat"])):
            case "overwrite":
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=8))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            case "repeat":
                data[at:at] = data[at : at + 64]
    return bytes(data)


@st.composite
def npy_files(draw: st.DrawFn) -> bytes:
    """A .npy file whose header may say anything, with a little data behind it."""
    header = {
        "descr": draw(DTYPES),
        "fortran_order": draw(st.booleans() | SCALARS),
        "shape": draw(st.lists(SIZES, max_size=5).map(tuple) | SCALARS),
    }
    if draw(st.booleans()):
        header[draw(STRANGE_TEXT)] = draw(SCALARS)
    hostile = st.sampled_from(["(" * 500, "{" * 500, "__import__('os')", "[0]*10**9"])
    text = draw(st.just(repr(header)) | hostile).encode()
    version = draw(st.sampled_from([b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"]))
    length = draw(st.just(len(text)) | st.sampled_from([0, 65535]))
    packed = struct.pack("<H", length) if version == b"\x01\x00" else struct.pack("<I", length)
    return b"\x93NUMPY" + version + packed + text + draw(st.binary(max_size=200))


def npy(array: np.ndarray) -> bytes:
    """A valid .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


@st.composite
def altered(draw: st.DrawFn, content: Any) -> Any:
    """A JSON value with one of its parts, wherever it lies, replaced, removed or renamed."""
    content = json.loads(json.dumps(content))
    parent: Any = None
    here = content
    while isinstance(here, dict | list) and here and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
        parent, here = here, here[key]
    if parent is None:
        return draw(VALUES)
    match draw(st.sampled_from(["replace", "replace", "remove", "rename"])):
        case "replace":
            parent[key] = draw(VALUES)
        case "remove":
            del parent[key]
        case "rename" if isinstance(parent, dict):
            parent[draw(STRANGE_TEXT)] = parent.pop(key)
    return content


DATASET = {
    "name": "mine", "extends": "scan", "captions_per_image": 5, "folder": "precomp", "picture_size": [20, 30],
    "splits": {"train": "train", "dev": "dev", "test": "testall"}, "simulated": ["boxes"],
    "benchmarks": [{"name": "mine-1k", "images": 1000, "folds": 5}],
    "sidecars": {"boxes": {"side": "image", "rows": "image", "kind": "boxes", "files": ["{split}_b.npy"],
                           "what": "boxes", "made_by": "you"}},
}  # fmt: skip
BOMB = "a: &a [x,x]\n" + "".join(
    f"{name}: &{name} [*{before},*{before},*{before}]\n"
    for before, name in zip("abcdefghijklmno", "bcdefghijklmnop", strict=True)
)
