"""Bad records: JSON with any part altered, ranks in archives that are damaged or lie about their size."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itm_harness.benchmarks.leaderboard.build import write_leaderboard
from itm_harness.benchmarks.records.store import read_details_beside, read_record, write_record
from itm_tests.fuzz.answers import answered, fuzzed, slowly_fuzzed
from itm_tests.fuzz.inputs import VALUES, altered, damaged, npy, npy_files
from itm_tests.stores import Store


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A valid record on disk, its JSON and its ranks."""
    store = Store()
    record = store.add()
    path = write_record(record, store.details[record.id], tmp_path_factory.mktemp("results"))
    return path, json.loads(path.read_bytes()), path.with_suffix(".npz").read_bytes()


@fuzzed
@given(data=st.data())
def test_json(record, data):
    path, content, _ = record
    valid = path.read_bytes()
    bad = altered(content).map(lambda v: json.dumps(v).encode()) | damaged(valid)
    path.write_bytes(data.draw(bad | VALUES.map(lambda v: json.dumps(v).encode()) | st.just(b"[" * 100_000)))
    try:
        answered(lambda: read_record(path), path)
    finally:
        path.write_bytes(valid)


@slowly_fuzzed
@given(data=st.data())
def test_a_leaderboard_is_made_of_what_can_be_read(record, data):
    """Whatever a record says, the tables are written, and it is in them or named."""
    path, content, _ = record
    valid, results = path.read_bytes(), path.parents[1]
    path.write_bytes(json.dumps(data.draw(altered(content))).encode())
    try:
        answered(lambda: write_leaderboard(results, ["md", "csv", "html", "json", "latex"]))
    finally:
        path.write_bytes(valid)


@st.composite
def archives(draw: st.DrawFn, valid: bytes) -> bytes:
    """The ranks' archive with one member exchanged, missing, twice, or huge once it is unpacked."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(valid)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        chosen = draw(st.sampled_from(old.namelist()))
        for name in old.namelist():
            content = old.read(name)
            if name == chosen:
                huge = npy(np.zeros(20_000_000, np.int32))
                content = draw(npy_files() | damaged(content) | st.binary(max_size=50) | st.just(huge))
            new.writestr(name, content)
    return buffer.getvalue()


@fuzzed
@given(data=st.data())
def test_ranks(record, data):
    path, _, valid = record
    ranks = path.with_suffix(".npz")
    ranks.write_bytes(data.draw(damaged(valid) | archives(valid) | st.binary(max_size=100)))
    try:
        answered(lambda: read_details_beside(path, read_record(path)), ranks)
    finally:
        ranks.write_bytes(valid)


def test_an_archive_that_unpacks_to_more_than_the_ranks_is_refused_unread(record):
    """A thousand to one: a megabyte of zeros in the archive is a gigabyte in memory."""
    path, _, valid = record
    ranks = path.with_suffix(".npz")
    with zipfile.ZipFile(io.BytesIO(valid)) as old, zipfile.ZipFile(ranks, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, npy(np.zeros(50_000_000, np.int32)) if "t2i_ranks" in name else old.read(name))
    try:
        assert "unpacks to" in answered(lambda: read_details_beside(path, read_record(path)), ranks)
    finally:
        ranks.write_bytes(valid)
