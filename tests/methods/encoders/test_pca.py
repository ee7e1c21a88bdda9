"""Principal components against numpy's singular value decomposition."""

import numpy as np
import pytest
import torch

from itm_harness.methods.encoders.pca import PCA
from itm_harness.methods.errors import MethodError
from itm_harness.methods.losses import kmeans


def vectors(rows=60, width=6, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, width)) * np.arange(1, width + 1) + 5).astype(np.float32)


def fitted(arrays, kept):
    pca = PCA(arrays[0].shape[1], kept)
    pca.fit(arrays)
    return pca


def test_components_are_those_of_the_centred_rows_of_all_arrays(monkeypatch):
    arrays = [vectors(), vectors(30, seed=1)]
    monkeypatch.setattr(kmeans, "CHUNK", 7)
    pca, rows = fitted(arrays, 3), np.concatenate(arrays).astype(np.float64)
    expected = np.linalg.svd(rows - rows.mean(axis=0))[2][:3]
    np.testing.assert_allclose(pca.mean, rows.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(np.abs((pca.components.numpy() * expected).sum(axis=1)), 1, atol=1e-5)
    assert (pca.components.gather(1, pca.components.abs().argmax(dim=1, keepdim=True)) > 0).all()


def test_what_comes_out_has_length_one_and_keeps_directions():
    """Points of a plane in six dimensions: two components lose nothing but their length."""
    rng = np.random.default_rng(2)
    plane = np.linalg.qr(rng.standard_normal((6, 2)))[0].T
    points = (rng.standard_normal((50, 2)) @ plane + 3).astype(np.float32)
    reduced = fitted([points], 2)(torch.tensor(points))
    assert reduced.shape == (50, 2)
    centred = points - points.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(reduced @ reduced.T, centred @ centred.T, atol=1e-4)


def test_it_is_float32_under_autocast():
    pca, rows = fitted([vectors()], 3), torch.tensor(vectors(seed=1))
    with torch.autocast("cpu", torch.bfloat16):
        found = pca(rows)
    assert torch.equal(found, pca(rows))


def test_what_cannot_be_reduced_is_refused():
    with pytest.raises(MethodError, match="vectors of 6 numbers cannot be reduced to 8"):
        PCA(6, 8)
    with pytest.raises(MethodError, match="3 principal components need more than 3 training vectors"):
        fitted([vectors(3)], 3)
