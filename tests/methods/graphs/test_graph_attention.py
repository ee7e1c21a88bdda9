"""Entity graphs and their attention, against loops over heads and nodes."""

import math

import pytest
import torch
from torch.nn.functional import layer_norm

from itm_harness.methods.graphs.graph_attention import EntityGraphs, GraphAttention, softmax_over_edges

WIDTH, D, HEADS, SLOTS = 6, 8, 4, 5


def sidecars(seed=0):
    """Vectors and relations of five captions with 3, 0, 5, 1 and 2 entities; relations are directed."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.tensor([3, 0, 5, 1, 2])
    valid = torch.arange(SLOTS) < counts[:, None]
    vectors = torch.randn(5, SLOTS, WIDTH, generator=generator, dtype=torch.float64) * valid[:, :, None]
    related = torch.rand(5, SLOTS, SLOTS, generator=generator) < 0.25
    relations = torch.randint(1, 9, (5, SLOTS, SLOTS), generator=generator) * related
    relations[2, 0, 4] = 3  # said in one direction only
    relations[2, 4, 0] = 0
    return vectors, relations * (valid[:, :, None] & valid[:, None]), counts


def attention(heads=HEADS, dropout=0.0):
    torch.manual_seed(0)
    module = GraphAttention(WIDTH, D, heads, dropout).double()
    torch.nn.init.normal_(module.norm.weight)
    torch.nn.init.normal_(module.norm.bias)
    return module


def by_loops(module, vectors, relations, count):
    """One caption, node by node and head by head. vectors: (slots, width)."""
    size, per_head, rows = max(count, 1), D // HEADS, []
    for i in range(size):
        gathered = []
        for h in range(HEADS):
            scores = {}
            for j in range(size):
                if i == j or relations[i, j] != 0 or relations[j, i] != 0:
                    joint = module.target(vectors[i]) + module.source(vectors[j])
                    joint = torch.where(joint > 0, joint, 0.2 * joint)[h * per_head : (h + 1) * per_head]
                    scores[j] = math.exp((module.weight[h] @ joint + module.bias[h]).item())
            values = {j: module.value(vectors[j])[h * per_head : (h + 1) * per_head] for j in scores}
            gathered.append(sum(scores[j] / sum(scores.values()) * values[j] for j in scores))
        row = module.target(vectors[i]) + torch.cat(gathered)
        rows.append(layer_norm(row, (D,), module.norm.weight, module.norm.bias).clamp(min=0))
    return torch.stack(rows)


@torch.no_grad()
def test_the_attention_equals_loops_over_nodes_and_heads():
    vectors, relations, counts = sidecars()
    module = attention()
    graphs = EntityGraphs.of(vectors, relations)
    found = graphs.ragged(module(graphs))
    assert found.lengths.tolist() == [3, 1, 5, 1, 2]
    for caption in range(5):
        wanted = by_loops(module, vectors[caption], relations[caption], int(counts[caption]))
        torch.testing.assert_close(found[caption : caption + 1].values, wanted)


def test_edges_join_related_entities_both_ways_and_every_node_to_itself():
    vectors = torch.ones(2, 3, 1)
    vectors[0, 2] = 0
    relations = torch.zeros(2, 3, 3, dtype=torch.int64)
    relations[0, 0, 1] = 7
    relations[0, 0, 2] = 7  # to a slot without entity
    relations[1, 2, 0] = 1
    graphs = EntityGraphs.of(vectors, relations)
    edges = set(zip(graphs.targets.tolist(), graphs.sources.tolist(), strict=True))
    loops = {(i, i) for i in range(5)}
    assert edges == loops | {(0, 1), (1, 0)} | {(2, 4), (4, 2)}
    assert graphs.counts.tolist() == graphs.sizes.tolist() == [2, 3]


def test_a_caption_without_entities_is_one_zero_node():
    vectors, relations, counts = sidecars()
    graphs = EntityGraphs.of(vectors, relations)
    assert graphs.counts.tolist() == counts.tolist()
    module = attention()
    row = module(graphs)[3]  # behind the three nodes of the first caption
    sums = module.target.bias + module.value.bias
    torch.testing.assert_close(row, layer_norm(sums, (D,), module.norm.weight, module.norm.bias).relu())


def test_a_negative_vector_is_an_entity():
    vectors = torch.zeros(1, 2, 2)
    vectors[0, 0] = torch.tensor([1.0, -1.0])  # sums to 0
    assert EntityGraphs.of(vectors).counts.tolist() == [1]


def test_nodes_lie_side_by_side_in_their_captions_row():
    vectors = torch.tensor([[0, 1, 0, 2], [0, 0, 0, 0], [3, 4, 5, 6], [0, 0, 7, 0]])[:, :, None].float()
    graphs = EntityGraphs.of(vectors)
    assert graphs.padded(graphs.vectors)[:, :, 0].tolist() == [[1, 2, 0, 0], [0, 0, 0, 0], [3, 4, 5, 6], [7, 0, 0, 0]]
    values = torch.randn(len(graphs.vectors), 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(graphs.padded(values), graphs.ragged(values).padded())
    assert torch.autograd.gradcheck(graphs.padded, values)


@torch.no_grad()
def test_captions_do_not_see_each_other_and_more_slots_change_nothing():
    vectors, relations, _ = sidecars()
    module = attention()
    graphs = EntityGraphs.of(vectors, relations)
    whole = graphs.ragged(module(graphs))
    wider = EntityGraphs.of(
        torch.nn.functional.pad(vectors, (0, 0, 0, 3)), torch.nn.functional.pad(relations, (0, 3, 0, 3))
    )
    torch.testing.assert_close(module(wider), whole.values)
    for caption in range(5):
        rows = slice(caption, caption + 1)
        alone = EntityGraphs.of(vectors[rows], relations[rows])
        torch.testing.assert_close(module(alone), whole[rows].values)


def test_the_softmax_over_edges_stands_large_scores():
    scores = torch.tensor([[900.0], [899.0], [-900.0]], dtype=torch.float64)
    shares = softmax_over_edges(scores, torch.tensor([0, 0, 1]), 2)
    torch.testing.assert_close(shares[:2, 0], torch.tensor([1.0, 0.0], dtype=torch.float64).softmax(0))
    assert shares[2].item() == 1


def test_gradients():
    vectors, relations, _ = sidecars(seed=1)
    module = attention()
    parameters = {name: p.detach().requires_grad_() for name, p in module.named_parameters()}

    def outputs(given, *values):
        named = dict(zip(parameters, values, strict=True))
        graphs = EntityGraphs.of(given, relations)
        return torch.func.functional_call(module, named, (graphs,))

    assert torch.autograd.gradcheck(outputs, (vectors, *parameters.values()), check_undefined_grad=False)


def test_dropout_falls_on_the_values_in_training_only():
    vectors, relations, _ = sidecars()
    graphs = EntityGraphs.of(vectors, relations)
    module = attention(dropout=0.5)
    plain = attention()(graphs)
    torch.testing.assert_close(module.eval()(graphs), plain)
    module.train()
    assert not torch.allclose(module(graphs), plain)
    torch.manual_seed(3)
    values = torch.nn.functional.dropout(module.value(graphs.vectors), 0.5)
    first = module.target(vectors[3, 0]) + values[9]  # the caption with one entity attends to it alone
    torch.manual_seed(3)
    wanted = layer_norm(first, (D,), module.norm.weight, module.norm.bias).relu()
    torch.testing.assert_close(module(graphs)[9], wanted)


def test_without_attention_each_entity_is_projected_alone():
    vectors, relations, _ = sidecars()
    module = attention(heads=None)
    assert [name for name, _ in module.named_parameters()] == [
        "target.weight",
        "target.bias",
        "norm.weight",
        "norm.bias",
    ]
    found = module(EntityGraphs.of(vectors))
    torch.testing.assert_close(found, module(EntityGraphs.of(vectors, relations)))
    wanted = layer_norm(module.target(vectors[0, 1]), (D,), module.norm.weight, module.norm.bias).relu()
    torch.testing.assert_close(found[1], wanted)


@pytest.mark.parametrize("heads", [2, 8])
def test_first_values_of_the_attention(heads):
    torch.manual_seed(0)
    bound = 1 / math.sqrt(64 / heads)
    drawn = torch.cat([GraphAttention(4, 64, heads).weight.flatten() for _ in range(20)])
    assert drawn.shape == (20 * 64,)
    assert 0.95 * bound < drawn.abs().max() <= bound
    assert GraphAttention(4, 64, heads).bias.abs().max() <= bound
