import mmap

import numpy as np
import pytest

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files import arrays
from itm_harness.datasets.files.arrays import (
    Packed,
    announce,
    first_non_finite,
    gather_regions,
    open_array,
    require_float,
    view_rows,
)


def saved(tmp_path, array, name="a.npy"):
    np.save(tmp_path / name, array, allow_pickle=array.dtype == object)
    return tmp_path / name


def test_arrays_are_mapped_and_read_only(tmp_path):
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    array = open_array(saved(tmp_path, values))
    assert np.array_equal(array, values)
    assert isinstance(array.base.base, mmap.mmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1


def test_a_truncated_file_is_named(tmp_path):
    path = saved(tmp_path, np.zeros((10, 4), np.float32))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"a\.npy is truncated"):
        open_array(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.npy is truncated"):
        open_array(path)


def test_pickles_are_not_loaded(tmp_path):
    with pytest.raises(DataError, match="pickled objects"):
        open_array(saved(tmp_path, np.array([{"image_w": 1}], object)))


@pytest.mark.parametrize("content", [b"not an array at all", b"\x93NUMPY\x01\x00\x10\x00{'descr': rubbish}"])
def test_other_files_are_refused_in_one_sentence(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.npy") as caught:
        open_array(tmp_path / "a.npy")
    assert "\n" not in str(caught.value)


def test_missing_archives_and_column_order_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        open_array(tmp_path / "none.npy")
    with pytest.raises(DataError, match="column order"):
        open_array(saved(tmp_path, np.asfortranarray(np.zeros((3, 4)))))
    np.savez(tmp_path / "z.npz", a=np.zeros(3))
    (tmp_path / "z.npz").rename(tmp_path / "z.npy")
    with pytest.raises(DataError, match=r"is no \.npy file"):
        open_array(tmp_path / "z.npy")


def test_type_and_axes_of_features(tmp_path):
    path = tmp_path / "a.npy"
    require_float(np.zeros((1, 2, 3), np.float16), path, 3, "axes")
    with pytest.raises(DataError, match="holds float64; expected float32 or float16"):
        require_float(np.zeros((1, 2, 3)), path, 3, "axes")
    with pytest.raises(DataError, match=r"shape \(1, 2\); expected 3 axes"):
        require_float(np.zeros((1, 2), np.float32), path, 3, "axes")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_gathered_regions_equal_a_loop(tmp_path, dtype):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((7, 5, 3)).astype(dtype)
    features = open_array(saved(tmp_path, values))
    rows = np.array([6, 0, 3, 3])
    kept = rng.random((4, 5)) < 0.5
    kept[:, 2] = True
    kept[:, 4] = False  # the longest row is shorter than all regions
    regions, lengths = gather_regions(features, rows, Packed.of(kept))
    assert (regions.dtype, lengths.dtype) == (np.float32, np.int64)
    assert regions.shape[1] == kept.sum(1).max() < 5
    for row, keep, result, length in zip(rows, kept, regions, lengths, strict=True):
        expected = values[row][keep]
        assert length == len(expected)
        assert np.array_equal(result[:length], expected.astype(np.float32))
        assert not result[length:].any()
    everything, full = gather_regions(features, rows, None)
    assert np.array_equal(everything, values[rows].astype(np.float32))
    assert full.tolist() == [5] * 4


def test_packed_regions_keep_their_order_and_width():
    packed = Packed.of(np.array([[False, True, False, True], [True, False, False, False]]))
    order, lengths = packed
    assert packed.take(slice(1, 2)).padding.tolist() == [[False, True]]
    assert order[0].tolist() == [1, 3]
    assert order[1, 0] == 0
    assert lengths.tolist() == [2, 1]


def test_evenly_spaced_rows_are_views(tmp_path):
    array = open_array(saved(tmp_path, np.arange(40).reshape(20, 2)))
    for rows in (np.arange(20), np.arange(3), np.arange(4) * 5, np.array([7])):
        view = view_rows(array, rows)
        assert np.array_equal(view, array[rows])
        assert np.shares_memory(view, array)
    for rows in (np.array([3, 1]), np.array([0, 1, 3]), np.array([2, 2])):
        assert np.array_equal(view_rows(array, rows), array[rows])
    assert len(view_rows(array, np.zeros(0, np.int64))) == 0


def test_the_first_row_that_is_not_finite():
    values = np.zeros((4, 2, 3), np.float32)
    assert first_non_finite(values) is None
    values[2, 1, 0] = np.nan
    values[3, 0, 0] = np.inf
    assert first_non_finite(values) == 2
    assert first_non_finite(np.array([[np.inf], [-np.inf]])) == 0
    assert first_non_finite(np.full((2, 2), 3e38, np.float32)) is None  # the sum overflows, the numbers are finite
    assert first_non_finite(np.array([1, 2])) is None


def test_announced_rows_lie_within_the_file_and_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "LARGE", 0)
    array = open_array(saved(tmp_path, np.arange(3000.0).reshape(1000, 3)))
    announce(array, np.array([0, 999, 5]))  # a range beyond the file would raise
    announce(array, np.zeros(0, np.int64))
    announce(np.zeros((3, 2)), np.array([1]))  # not mapped
    announce(open_array(saved(tmp_path, np.zeros((2, 5), np.int8), "b.npy")), np.array([1]))
    assert array[999].tolist() == [2997, 2998, 2999]
