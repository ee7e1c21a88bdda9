"""AAHR's graph: convolutions against their formula node by node, relevance by means, what reaches the attention."""

import pytest
import torch
from torch.nn.functional import leaky_relu, normalize

from itm_harness.benchmarks.bench.references.hrem import connection, divergence, pair_scores
from itm_harness.methods.graphs.graph_convolution import ConvolvedGraph, GraphConvolution, mean_adjacency

B, D, REGIONS, WORDS = 6, 8, 5, 7
LENGTHS = torch.tensor([7, 3, 5, 4, 6, 2])


def batch(dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    image, text = (normalize(torch.randn(B, D, generator=generator, dtype=dtype), dim=1) for _ in range(2))
    regions = torch.randn(B, REGIONS, D, generator=generator, dtype=dtype)
    words = torch.randn(B, WORDS, D, generator=generator, dtype=dtype)
    return image, text, regions, words, LENGTHS


def graph(**settings):
    torch.manual_seed(0)
    settings = {"convolutions": True, "convolution_dropout": 0.0, "mask_weight": 1.5, **settings}
    return ConvolvedGraph(D, 2, 0.0, threshold=0.5, topk=4, **settings)


def convolved(layer, nodes, adjacency):
    """One node after the other."""
    rows = []
    for weights in adjacency:
        neighbours = sum(weight * (node @ layer.weight) for weight, node in zip(weights, nodes, strict=True))
        rows.append(leaky_relu(neighbours + layer.bias, 0.2))
    return torch.stack(rows)


def test_a_convolution_sums_the_mapped_neighbours():
    torch.manual_seed(0)
    layer, nodes, adjacency = GraphConvolution(D, 0.0), torch.randn(B, D), torch.rand(B, B)
    torch.nn.init.uniform_(layer.bias)
    torch.testing.assert_close(layer(nodes, adjacency), convolved(layer, nodes, adjacency))


def test_a_convolution_has_exact_gradients():
    torch.manual_seed(0)
    layer = GraphConvolution(4, 0.0).double()
    nodes = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    adjacency = torch.rand(5, 5, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(layer, (nodes, adjacency))
    torch.autograd.gradcheck(lambda w: torch.func.functional_call(layer, {"weight": w}, (nodes, adjacency)),
                             layer.weight.detach().requires_grad_())  # fmt: skip


def test_dropout_falls_on_the_inputs_and_in_training_only():
    torch.manual_seed(0)
    layer = GraphConvolution(1, 0.6)
    torch.nn.init.ones_(layer.weight)
    seen = layer(torch.ones(4000, 1), torch.eye(4000))[:, 0]
    assert seen.unique().tolist() == pytest.approx([0.0, 2.5])
    assert (seen == 0).float().mean().item() == pytest.approx(0.6, abs=0.03)
    assert layer.eval()(torch.ones(3, 1), torch.eye(3)).tolist() == [[1.0]] * 3


def test_relevance_across_modalities_is_the_mean_of_the_fragment_scores():
    image, text, regions, words, lengths = batch()
    found = mean_adjacency(image, text, regions, words, lengths, threshold=0.5, topk=4)
    words, regions = normalize(words, dim=2), normalize(regions, dim=2)
    pairs = [[pair_scores(words[c], regions[i], int(lengths[c]), 4) for i in range(B)] for c in range(B)]
    t2i = torch.tensor([[float(pair[0]) for pair in row] for row in pairs])
    i2t = torch.tensor([[float(pair[2]) for pair in row] for row in pairs]).T
    torch.testing.assert_close(found.relevance[B:, :B], t2i)
    torch.testing.assert_close(found.relevance[:B, B:], i2t)
    torch.testing.assert_close(found.relevance[0, 1], (image[0] - image[1]).norm().neg().exp())
    torch.testing.assert_close(found.relevance[B, B + 2], (text[0] - text[2]).norm().neg().exp())
    wanted = [[connection(image @ image.T, 0.5), connection(i2t, 0.5)],
              [connection(t2i, 0.5), connection(text @ text.T, 0.5)]]  # fmt: skip
    assert torch.equal(found.connected, torch.cat([torch.cat(row, dim=1) for row in wanted]))
    target = torch.cdist(image, text).neg().exp()
    torch.testing.assert_close(found.regularisation, divergence(target, i2t) + divergence(target.T, t2i))


def test_only_relevance_within_a_modality_carries_a_gradient():
    image, text, regions, words, lengths = batch()
    leaves = [tensor.requires_grad_() for tensor in (image, text, regions, words)]
    found = mean_adjacency(*leaves, lengths, 0.5, 4)
    assert not found.regularisation.requires_grad
    across = torch.autograd.grad(found.relevance[:B, B:].sum(), leaves[:2], retain_graph=True)
    assert all(not g.any() for g in across)
    everything = torch.autograd.grad(found.relevance.sum(), leaves, allow_unused=True)
    assert [g is not None and bool(g.any()) for g in everything] == [True, True, False, False]


def test_convolutions_first_within_and_then_across_the_modalities():
    layers = graph()
    image, text, *local = batch()
    relevance = mean_adjacency(image, text, *local, 0.5, 4).relevance
    within = torch.cat(
        [
            convolved(layers.image_convolution, image, relevance[:B, :B]),
            convolved(layers.text_convolution, text, relevance[B:, B:]),
        ]
    )
    joint = convolved(layers.joint_convolution, within, relevance)
    wanted = normalize(joint, dim=1) + torch.cat([image, text])
    torch.testing.assert_close(layers.instances(image, text, relevance), wanted)


def test_without_convolutions_the_embeddings_attend():
    layers = graph(convolutions=False)
    image, text, *_ = batch()
    assert torch.equal(layers.instances(image, text, torch.rand(2 * B, 2 * B)), torch.cat([image, text]))
    assert {name.split(".")[0] for name, _ in layers.named_parameters()} == {"layer"}


def test_an_instance_attends_to_its_connected_ones_with_weighted_relevance():
    layers = graph()
    inputs = batch()
    adjacency = mean_adjacency(*inputs, 0.5, 4)
    instances = layers.instances(*inputs[:2], adjacency.relevance)
    mask = torch.full((2 * B, 2 * B), -torch.inf)
    mask[adjacency.connected] = 1.5 * adjacency.relevance[adjacency.connected]
    wanted = normalize(layers.layer(instances[None], src_mask=mask)[0], dim=1)
    image, text, _ = layers(*inputs)
    torch.testing.assert_close(torch.cat([image, text]), wanted)
    unweighted, *_ = graph(mask_weight=0.0)(*inputs)
    assert not torch.allclose(unweighted, image, atol=1e-4)
