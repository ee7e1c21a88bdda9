"""Parts of files: gone on with where whole steps end, thrown away where they are of something else."""

import json

import numpy as np
import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.part_file import discard_part, open_part, part_path
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import Manifest, read_manifest

ROWS, STEP = 10, 3
ARRAY = np.arange(2 * ROWS, dtype=np.float32).reshape(ROWS, 2)
LINES = [json.dumps({"row": row, "text": "e\u0301 \u2028" * row}) for row in range(ROWS)]
CONTENT = {"a.npy": ARRAY, "a.jsonl": LINES, "a.json": LINES}


def plan(name, **changes):
    array = name.endswith(".npy")
    shape, dtype = ((ROWS, 2), "float32") if array else ((ROWS,), "text")
    values = {"encoder": "e", "fitted": False, "texts": "t", "state": "s", "shape": shape, "dtype": dtype}
    return Manifest(**{**values, **changes})


def write(path, stop_at=ROWS, **changes):
    """Make steps until `stop_at` rows are there; the rows that were made."""
    made = []
    with open_part(path, plan(path.name, **changes), STEP) as part:
        while part.rows < min(part.total, stop_at):
            made.append(part.rows)
            part.append(CONTENT[path.name][part.rows : part.rows + STEP])
        if part.rows == part.total:
            part.finish()
    return made


@pytest.fixture(params=CONTENT)
def path(request, tmp_path):
    return tmp_path / request.param


@pytest.fixture
def expected(path, tmp_path):
    """The bytes of a file that was made in one go."""
    (tmp_path / "whole").mkdir()
    other = tmp_path / "whole" / path.name
    write(other)
    return other.read_bytes()


def test_a_whole_file_is_what_its_readers_read(path, expected):
    assert write(path) == [0, 3, 6, 9]
    if path.suffix == ".npy":
        np.testing.assert_array_equal(np.load(path), ARRAY)
    elif path.suffix == ".json":
        assert json.loads(path.read_text()) == [json.loads(line) for line in LINES]
    else:
        assert path.read_text().split("\n") == [*LINES, ""]
    assert read_manifest(path).same_content(plan(path.name))
    assert {other.name for other in path.parent.iterdir() if other.is_file()} == {path.name, f"{path.name}.json"}


@pytest.mark.parametrize("cut", [0, 1, 5, 40, -1, -7])
def test_a_killed_file_goes_on_with_whole_steps_and_ends_the_same(path, expected, cut):
    assert write(path, stop_at=6) == [0, 3]
    part = part_path(path)
    content = part.read_bytes()
    part.write_bytes(content[:cut] if cut else content)  # killed within a write
    made = write(path)
    assert made == [start for start in (0, 3, 6, 9) if start >= made[0]]
    assert (made[0] == 6) == (cut == 0)
    assert path.read_bytes() == expected


def test_a_part_that_is_whole_only_gets_its_name(path, expected):
    with open_part(path, plan(path.name), STEP) as part:
        part.append(CONTENT[path.name])
    assert write(path) == []
    assert path.read_bytes() == expected


def test_a_part_of_something_else_or_without_a_plan_is_begun_anew(path, expected):
    write(path, stop_at=6, state="other")
    assert write(path, stop_at=6) == [0, 3]
    path.with_name(f".{path.name}.part.json").unlink()
    assert write(path, stop_at=3) == [0]
    discard_part(path)
    assert write(path) == [0, 3, 6, 9]
    assert path.read_bytes() == expected


def test_the_file_that_is_there_stays_until_the_new_one_is_whole(path):
    write(path)
    before = path.read_bytes()
    write(path, stop_at=3, state="other")
    assert path.read_bytes() == before
    assert read_manifest(path).state == "s"


def test_two_processes_do_not_write_one_file(path):
    with open_part(path, plan(path.name), STEP), pytest.raises(RunError, match="is being made by another process"):
        write(path)


def test_numbers_that_are_not_finite_are_refused_and_what_was_there_stays(tmp_path):
    path = tmp_path / "a.npy"
    write(path, stop_at=3)
    with open_part(path, plan(path.name), STEP) as part, pytest.raises(DataError, match=r"a.npy is not written"):
        part.append(np.full((3, 2), np.inf, np.float32))
    assert write(path) == [3, 6, 9]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(RunError, match="cannot be written"):
        write(tmp_path / "folder" / "a.npy")
