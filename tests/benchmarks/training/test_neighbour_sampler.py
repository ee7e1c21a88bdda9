"""Neighbour batch sampling: every caption once, neighbours together, the same seed the same order."""

from itertools import pairwise

import torch
from torch.nn.functional import normalize

from itm_harness.benchmarks.training import neighbour_sampler
from itm_harness.benchmarks.training.neighbour_sampler import nearest_neighbours, neighbour_order


def clusters(n_clusters, size, noise=0.05):
    """Unit vectors in well separated groups, shuffled; returns (embeddings, group of each)."""
    torch.manual_seed(0)
    groups = torch.arange(n_clusters).repeat_interleave(size)[torch.randperm(n_clusters * size)]
    centres = normalize(torch.randn(n_clusters, 32))
    return normalize(centres[groups] + noise * torch.randn(len(groups), 32)), groups


def test_every_caption_once_and_reproducibly():
    embeddings, _ = clusters(7, 15)
    order = neighbour_order(embeddings, seed=3)
    assert order.dtype == torch.int64
    assert order.sort().values.tolist() == list(range(105))
    assert order.tolist() == neighbour_order(embeddings, seed=3).tolist()
    assert order.tolist() != neighbour_order(embeddings, seed=4).tolist()


def test_the_walk_stays_in_a_cluster_until_it_is_used_up():
    embeddings, groups = clusters(6, 20)
    walked = groups[neighbour_order(embeddings, seed=0, k=19)]
    assert (walked.diff() != 0).sum() == 5  # all 20 of a cluster are each other's neighbours: one stretch each
    shuffled = groups[torch.randperm(120, generator=torch.Generator().manual_seed(0))]
    assert (shuffled.diff() != 0).sum() > 80


def test_consecutive_captions_are_neighbours_wherever_one_was_left():
    torch.manual_seed(1)
    embeddings = normalize(torch.randn(200, 16))
    neighbours = nearest_neighbours(embeddings, 10).tolist()
    order = neighbour_order(embeddings, seed=5, k=10).tolist()
    visited = set()
    for here, following in pairwise(order):
        visited.add(here)
        left = set(neighbours[here]) - visited
        assert following in left or not left


def test_chunks_give_the_neighbours_of_the_dense_matrix(monkeypatch):
    torch.manual_seed(2)
    embeddings = normalize(torch.randn(50, 16))
    similarity = embeddings @ embeddings.T
    similarity.fill_diagonal_(-2)
    monkeypatch.setattr(neighbour_sampler, "CHUNK_BYTES", 4 * 50 * 7)  # seven rows at a time
    assert nearest_neighbours(embeddings, 4).tolist() == similarity.topk(4).indices.tolist()


def test_few_captions():
    assert neighbour_order(torch.ones(1, 4), seed=0).tolist() == [0]
    assert sorted(neighbour_order(torch.ones(3, 4), seed=0).tolist()) == [0, 1, 2]
