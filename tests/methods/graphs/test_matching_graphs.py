"""The graphs of GSMN: closed forms against neighbour tensors written out, and known answers."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from itm_harness.benchmarks.bench.references import gsmn as reference
from itm_harness.methods.graphs.matching_graphs import (
    PolarKernels,
    TextualGraph,
    VisualGraph,
    dependency_adjacency,
    polar_coordinates,
    word_edges,
)

BLOCKS, HIDDEN, KERNELS = 4, 6, 3


def random_boxes(n_images, n_regions, seed=0):
    torch.manual_seed(seed)
    corner = torch.rand(n_images, n_regions, 2).double() / 2
    return torch.cat([corner, corner + torch.rand(n_images, n_regions, 2) / 2], dim=-1)


def wide_kernels(kernels):
    """Kernels that leave no pair of regions without weight."""
    with torch.no_grad():
        kernels.sigma_rho.uniform_(0.5, 1)
        kernels.sigma_theta.uniform_(0.5, 1)


@pytest.fixture
def visual():
    torch.manual_seed(1)
    graph = VisualGraph(BLOCKS, HIDDEN, KERNELS).double()
    wide_kernels(graph.kernels)
    return graph


@pytest.fixture
def textual():
    torch.manual_seed(2)
    return TextualGraph(BLOCKS, HIDDEN, KERNELS).double()


def all_valid(*shape):
    return torch.ones(shape, dtype=torch.bool)


def test_polar_coordinates_of_known_boxes():
    right, left, above = [0.6, 0.4, 0.8, 0.6], [0.1, 0.4, 0.3, 0.6], [0.1, 0.1, 0.3, 0.3]
    rho, theta = polar_coordinates(torch.tensor([[right, left, above]]))
    torch.testing.assert_close(rho[0, 0, 1:], torch.tensor([0.5, math.hypot(0.5, 0.3)]))
    torch.testing.assert_close(theta[0, 0, 1], torch.tensor(math.pi / 2))  # atan2(Δx, Δy): to the right is π/2
    torch.testing.assert_close(theta[0, 1, 2], torch.tensor(0.0))  # lower in the picture, Δy > 0
    assert rho[0].diagonal().tolist() == theta[0].diagonal().tolist() == [0, 0, 0]


def test_kernel_weights_equal_the_product_of_gaussians(visual):
    boxes = random_boxes(2, 5)
    wanted = reference.gaussian_weights(visual.kernels, reference.pseudo_coordinates(boxes))
    torch.testing.assert_close(visual.kernels(boxes), wanted)


def test_kernel_weights_stay_finite_where_every_gaussian_underflows():
    kernels = PolarKernels(KERNELS)
    torch.nn.init.constant_(kernels.sigma_rho, 1e-3)
    boxes = random_boxes(1, 4).float()
    assert reference.gaussian_weights(kernels, reference.pseudo_coordinates(boxes)).isnan().any()
    weights = kernels(boxes)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 4, 4))
    weights.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in kernels.parameters())


@pytest.mark.parametrize("propagate", ["self", "neighbours"])
@pytest.mark.parametrize("n_regions", [1, 5])
def test_visual_convolution_equals_explicit_neighbours(visual, propagate, n_regions):
    nodes, boxes = torch.randn(3, 2, n_regions, BLOCKS).double(), random_boxes(2, n_regions)  # (T, I, N, b)
    valid = all_valid(2, n_regions)
    weights = visual.own_weights(boxes, valid) if propagate == "self" else visual.neighbour_weights(boxes, valid)
    hidden = visual.convolve(nodes.permute(3, 0, 2, 1), weights)  # (hidden, T, N, I)
    for t in range(3):
        neighbours = reference.neighbour_vectors(nodes[t], propagate)
        wanted = reference.graph_convolution(neighbours, visual.kernels(boxes), visual.convolution.maps)
        torch.testing.assert_close(hidden[:, t].permute(2, 1, 0), wanted)


@pytest.mark.parametrize("weights_of", ["own_weights", "neighbour_weights"])
def test_a_padded_region_changes_no_other_regions_score(visual, weights_of):
    nodes, boxes = torch.randn(BLOCKS, 3, 5, 2).double(), random_boxes(2, 5)
    valid = all_valid(2, 5)
    valid[:, 3:] = False
    weights = getattr(visual, weights_of)
    padded = visual(nodes, weights(boxes, valid), valid)
    cut = visual(nodes[:, :, :3], weights(boxes[:, :3], all_valid(2, 3)), all_valid(2, 3))
    torch.testing.assert_close(padded, cut)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("n_words", [1, 6])
def test_a_node_that_keeps_its_own_vector_gets_it_back_whatever_the_edges(textual, sparse, n_words):
    """The long form of `propagate: self`, edges and all, is the closed form without them: dense equals sparse."""
    torch.manual_seed(3)
    matching = torch.randn(2, n_words, BLOCKS).double()
    edges = torch.rand(n_words, n_words).double().softmax(-1)
    if sparse:
        edges = edges * reference.adjacency(torch.tensor([[0, 1], [0, 2], [2, 4]]), n_words)
    strengths = torch.tensor([0.3, -0.8, 0.5]).double()  # the released p_k
    kernels = edges[None, :, :, None] * strengths
    kernels = kernels / kernels.sum(dim=2, keepdim=True)
    neighbours = reference.neighbour_vectors(matching, "self")
    wanted = reference.graph_convolution(neighbours, kernels, textual.convolution.maps)
    hidden = textual.convolve(matching.permute(2, 1, 0).unsqueeze(1), None)  # (hidden, 1, L, I)
    torch.testing.assert_close(hidden[:, 0].permute(2, 1, 0), wanted)


def test_textual_convolution_mixes_by_its_edges(textual):
    nodes, edges = torch.randn(BLOCKS, 1, 4, 2).double(), torch.rand(1, 4, 4).double()
    hidden = textual.convolve(nodes, edges)
    mixed = sum(edges[0, 1, j] * nodes[:, 0, j, 0] for j in range(4))
    wanted = torch.cat([linear(mixed) for linear in textual.convolution.maps])
    torch.testing.assert_close(hidden[:, 0, 1, 0], wanted)


def test_dense_edges_are_the_softmax_over_valid_words():
    words = normalize(torch.randn(2, 5, 8).double(), dim=-1)
    valid = torch.arange(5) < torch.tensor([[5], [3]])
    edges = word_edges(words, valid, inverse_temperature=4.0)
    torch.testing.assert_close(edges[0], (4 * words[0] @ words[0].T).softmax(-1))
    torch.testing.assert_close(edges[1, :3, :3], (4 * words[1, :3] @ words[1, :3].T).softmax(-1))
    assert (edges[1, :, 3:] == 0).all()


def test_sparse_edges_sum_to_one_over_what_is_connected():
    words, valid = normalize(torch.randn(1, 3, 8).double(), dim=-1), torch.tensor([[True, True, False]])
    adjacency = torch.tensor([[[1, 0, 0], [1, 1, 0], [0, 0, 1]]]).bool()
    edges = word_edges(words, valid, 4.0, adjacency)
    own, other = edges[0, 1, 1], edges[0, 1, 0]
    torch.testing.assert_close(edges[0, :2].sum(-1), torch.ones(2).double())
    torch.testing.assert_close((own / other).log(), 4 * (1 - words[0, 1] @ words[0, 0]))
    assert edges.isfinite().all()  # also in the row of the padded word


def test_adjacency_leaves_out_the_root_pair_and_pairs_beyond_the_caption():
    pairs = torch.tensor([[[0, 2], [2, 1], [1, 3], [0, 0]], [[0, 1], [0, 1], [0, 0], [0, 0]]])
    valid_pairs = torch.tensor([[True, True, True, False], [True, True, False, False]])
    valid_words = torch.arange(4) < torch.tensor([[3], [2]])
    adjacency = dependency_adjacency(pairs, valid_pairs, valid_words)
    assert adjacency[0].nonzero().tolist() == [[0, 0], [1, 1], [1, 2], [2, 1], [2, 2], [3, 3]]
    assert adjacency[1, :2, :2].all()


def test_a_dependency_of_a_word_on_itself_changes_nothing():
    pairs, valid_words = torch.tensor([[[0, 2], [2, 1], [1, 1], [3, 3]]]), all_valid(1, 4)
    with_loops = dependency_adjacency(pairs, torch.ones(1, 4, dtype=torch.bool), valid_words)
    without = dependency_adjacency(pairs[:, :2], torch.ones(1, 2, dtype=torch.bool), valid_words)
    assert torch.equal(with_loops, without)


def test_a_caption_without_dependencies_has_self_loops_only():
    none = torch.zeros(2, 0, 2, dtype=torch.int64)
    adjacency = dependency_adjacency(none, torch.zeros(2, 0, dtype=torch.bool), all_valid(2, 3))
    assert (adjacency == torch.eye(3, dtype=torch.bool)).all()


def test_the_head_averages_over_valid_nodes_only(textual):
    nodes = torch.randn(BLOCKS, 2, 3, 1).double()
    valid = torch.tensor([[True, True, True], [True, False, False]])
    scores = textual(nodes, None, valid)  # (I, T)
    alone = textual(nodes[:, 1:, :1], None, all_valid(1, 1))
    torch.testing.assert_close(scores[0, 1], alone[0, 0])
    each = [textual(nodes[:, :1, i : i + 1], None, all_valid(1, 1))[0, 0] for i in range(3)]
    torch.testing.assert_close(scores[0, 0], torch.stack(each).mean())
