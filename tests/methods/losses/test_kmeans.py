"""K-means: finds what is there, keeps every cluster alive, reads in chunks, repeats itself."""

import numpy as np
import pytest
import torch

from itm_harness.methods.errors import MethodError
from itm_harness.methods.losses import kmeans as module
from itm_harness.methods.losses.kmeans import first_centroids, kmeans, require_distinct

CENTRES = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10], [10, 10, 10]], np.float32)


def clusters(per_cluster=20, spread=0.1, seed=0):
    noise = np.random.default_rng(seed).standard_normal((5, per_cluster, 3)).astype(np.float32)
    return CENTRES[:, None] + spread * noise  # (5, per_cluster, 3)


def ordered(centroids):
    return centroids[np.lexsort(np.asarray(centroids).round(1).T)]


def test_separated_clusters_are_recovered():
    groups = clusters()
    rows = np.random.default_rng(1).permutation(groups.reshape(-1, 3))
    found = kmeans(rows, 5)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(ordered(found.numpy()), ordered(groups.mean(axis=1)), atol=1e-5)


def test_it_equals_the_loop_over_rows():
    """Lloyd's algorithm, one row at a time, from the same first centroids."""
    rows = np.random.default_rng(2).random((40, 4)).astype(np.float32)
    start = first_centroids(module.Rows(rows, module.unchanged, "cpu"), 6, torch.Generator().manual_seed(3)).numpy()
    expected = start.copy()
    for _ in range(4):
        label = [int(np.argmin(((expected - row) ** 2).sum(axis=1))) for row in rows]
        expected = np.stack([rows[[i for i in range(40) if label[i] == c]].mean(axis=0) for c in range(6)])
    np.testing.assert_allclose(kmeans(rows, 6, seed=3, iterations=4).numpy(), expected, atol=1e-5)


def test_the_first_centroids_are_different_rows():
    rows = np.repeat(np.eye(6, dtype=np.float32), 10, axis=0)
    found = first_centroids(module.Rows(rows, module.unchanged, "cpu"), 6, torch.Generator().manual_seed(0))
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, np.eye(6).tolist()))


@pytest.mark.parametrize("chunk", [7, 64])
def test_chunks_change_nothing_and_it_repeats_itself(monkeypatch, chunk, tmp_path):
    rows = np.random.default_rng(4).standard_normal((200, 8)).astype(np.float16)
    np.save(tmp_path / "rows.npy", rows)
    whole = kmeans(rows, 12)
    monkeypatch.setattr(module, "CHUNK", chunk)
    torch.testing.assert_close(kmeans(np.load(tmp_path / "rows.npy", mmap_mode="r"), 12), whole)
    assert not torch.equal(kmeans(rows, 12, seed=1), whole)


def test_a_cluster_that_loses_its_rows_starts_anew_where_it_is_needed(monkeypatch):
    """Two first centroids fall together, so that one stays empty; the far cluster would never get one."""
    groups = clusters()
    start = torch.tensor(CENTRES[[0, 1, 2, 3, 3]])
    monkeypatch.setattr(module, "first_centroids", lambda rows, k, generator: start)
    found = kmeans(groups.reshape(-1, 3), 5)
    np.testing.assert_allclose(ordered(found.numpy()), ordered(groups.mean(axis=1)), atol=1e-5)


def test_as_many_clusters_as_different_rows_are_these_rows():
    different = np.random.default_rng(5).random((9, 4)).astype(np.float32)
    found = kmeans(np.repeat(different, [60, 1, 1, 1, 1, 1, 1, 1, 1], axis=0), 9)
    np.testing.assert_allclose(
        sorted(map(tuple, found.numpy().round(5))), sorted(map(tuple, different.round(5))), atol=1e-5
    )


def test_more_clusters_than_different_rows_are_refused():
    rows = np.repeat(np.eye(4, dtype=np.float32), 5, axis=0)
    require_distinct(rows, 4)
    with pytest.raises(MethodError, match="prototypes=5, but the training split holds only 4 different descriptions"):
        kmeans(rows, 5)


def test_what_is_read_is_prepared_first():
    rows = clusters().reshape(-1, 3)
    torch.testing.assert_close(kmeans(rows, 5, lambda x: 2 * x[:, :2]), kmeans(2 * rows[:, :2], 5))
