import numpy as np
import pytest

from itm_harness.datasets import scan


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(scan, "CHUNK_BYTES", 100)


def test_rows_that_are_not_finite_are_found_in_all_chunks():
    array = np.zeros((50, 3, 2), np.float16)
    array[[0, 17, 49], 1, 1] = [np.nan, np.inf, -np.inf]
    array[20] = 60000  # the sum is beyond float16, the numbers are not
    assert scan.non_finite_rows(array).tolist() == [0, 17, 49]
    assert scan.non_finite_rows(np.zeros((5, 2), np.int64)).tolist() == []
    assert scan.non_finite_rows(np.full((2, 2), 3e38, np.float32)).tolist() == []


def test_rows_that_differ_from_their_model():
    array = np.repeat(np.random.default_rng(0).random((10, 2, 3)), 5, axis=0)
    array[5:10, 0, 0] = np.nan  # equal to each other
    model = np.arange(50) // 5 * 5
    assert scan.differing_rows(array, model).tolist() == []
    array[[3, 48], 1, 2] += 1e-9
    assert scan.differing_rows(array, model).tolist() == [3, 48]
    records = np.zeros(4, [("w", "i4"), ("h", "i4")])
    records["h"][3] = 1
    assert scan.differing_rows(records, np.array([0, 0, 2, 2])).tolist() == [3]
