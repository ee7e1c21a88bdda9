"""The instance graph of a whole batch against loops over captions and pairs, and its properties."""

import math
from functools import partial

import pytest
import torch
from torch.nn.functional import normalize

from itm_harness.benchmarks.bench.references import hrem as reference
from itm_harness.methods.graphs import instance_graph
from itm_harness.methods.graphs.instance_graph import AdjacencyLearning, Attends, InstanceGraph, fragment_scores

D = 12
LENGTHS = [[14, 9, 1, 10, 3], [4, 2, 2, 1, 1], [1, 1, 1, 1, 1], [2, 13, 11, 1, 6]]


def fragments(lengths, n_regions, seed=0):
    """Random embeddings, regions and words (padding random too, as BERT's), and lengths; float64."""
    torch.manual_seed(seed)
    n = len(lengths)
    image, text = normalize(torch.randn(n, D).double()), normalize(torch.randn(n, D).double())
    regions, words = torch.randn(n, n_regions, D).double(), torch.randn(n, max(lengths), D).double()
    return image, text, regions, words, torch.tensor(lengths)


@pytest.fixture(params=[2**31, 1])
def chunks(request, monkeypatch):
    """All captions at once, and one at a time."""
    monkeypatch.setattr(instance_graph, "CHUNK_BYTES", {"cpu": request.param})


@pytest.mark.parametrize("n_regions", [1, 7, 12])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.usefixtures("chunks")
def test_scores_equal_a_loop_over_pairs(lengths, n_regions):
    _, _, regions, words, n_words = fragments(lengths, n_regions)
    scores = fragment_scores(regions, words, n_words, topk=10)
    for c, length in enumerate(lengths):
        for v in range(len(lengths)):
            caption = torch.cat([words[c], torch.zeros(10, D)])[: max(10, words.shape[1])]
            wanted = reference.pair_scores(normalize(caption), normalize(regions[v]), length, topk=10)
            found = (scores.t2i_mean[c, v], scores.t2i_top[c, v], scores.i2t_mean[c, v], scores.i2t_top[c, v])
            torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("n_regions", [1, 12])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.usefixtures("chunks")
def test_adjacency_and_its_gradients_equal_a_loop_over_captions(lengths, n_regions):
    image, text, regions, words, n_words = fragments(lengths, n_regions)
    module = AdjacencyLearning(threshold=0.5, topk=10).double()
    results = []
    for adjacency in (module, partial(reference.adjacency, module)):
        leaves = [image.clone().requires_grad_(), text.clone().requires_grad_(), *module.parameters()]
        connected, relevance, regularisation = adjacency(*leaves[:2], regions, words, n_words)
        weights = torch.arange(relevance.numel()).double().cos().view_as(relevance)
        gradients = torch.autograd.grad((relevance * weights).sum() + regularisation, leaves)
        results.append((connected, relevance, regularisation, gradients))
    assert results[0][0].sum() >= len(lengths) ** 2
    torch.testing.assert_close(*results)


def test_gradcheck_of_the_graph():
    image, text, regions, words, lengths = fragments([5, 1, 3, 2], 4)
    torch.manual_seed(1)
    graph = InstanceGraph(D, 3, 0.0, [Attends(True, False), Attends(False, True)], 0.5, 3, 1.5).double()
    names, parameters = zip(*graph.adjacency.named_parameters(prefix="adjacency"), strict=True)

    def outputs(image, text, *parameters):
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(graph, named, (image, text, regions, words, lengths))

    leaves = [leaf.detach().clone().requires_grad_() for leaf in (image, text, *parameters)]
    assert torch.autograd.gradcheck(lambda *x: outputs(*x)[:2], leaves)
    assert torch.autograd.gradcheck(lambda *p: outputs(image, text, *p)[2], leaves[2:])


def test_the_regularisation_trains_the_relevance_mlps_alone():
    image, text, *local = fragments([5, 1, 3, 12], 4)
    leaves = [x.requires_grad_() for x in (image, text, *local[:2])]
    adjacency = AdjacencyLearning(threshold=0.5, topk=10).double()
    parameters = list(adjacency.parameters())
    gradients = torch.autograd.grad(
        adjacency(image, text, *local).regularisation, leaves + parameters, allow_unused=True
    )
    assert all(g is None for g in gradients[:4])
    assert all(g.abs().sum() > 0 for g in gradients[4:8])


def test_the_region_axis_includes_padding_and_the_word_axis_does_not_beyond_topk():
    _, _, regions, words, lengths = fragments([12, 3], 11)
    scores = fragment_scores(regions, words, lengths, topk=10)
    moved_region, moved_slot, moved_padding = regions.clone(), words.clone(), words.clone()
    moved_region[0, 10] += 3  # a region slot always counts
    moved_slot[1, 9] += 3  # among the first ten slots of a caption of three words: in t2i's norm and top-k
    moved_padding[1, 10:] += 3
    changed = fragment_scores(moved_region, words, lengths, topk=10)
    assert not torch.allclose(changed.i2t_mean[:, 0], scores.i2t_mean[:, 0])
    changed = fragment_scores(regions, moved_slot, lengths, topk=10)
    assert not torch.allclose(changed.t2i_top[1], scores.t2i_top[1])
    torch.testing.assert_close(changed.i2t_top, scores.i2t_top)
    torch.testing.assert_close(fragment_scores(regions, moved_padding, lengths, topk=10), scores)


def test_a_row_is_connected_to_the_larger_half_and_to_ties():
    adjacency = AdjacencyLearning(threshold=0.5, topk=10)
    scores = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0, 2.0]] + [[0.0] * 5] * 3)
    assert adjacency._strongest(scores).sum(dim=1).tolist() == [2, 4, 5, 5, 5]


def test_both_relevance_mlps_start_equal():
    adjacency = AdjacencyLearning(threshold=0.5, topk=10)
    torch.testing.assert_close(dict(adjacency.mlp_t2i.named_parameters()), dict(adjacency.mlp_i2t.named_parameters()))
    assert adjacency.mlp_t2i[0].weight is not adjacency.mlp_i2t[0].weight


def graph_with(attends, **switches):
    torch.manual_seed(2)
    return InstanceGraph(D, 3, 0.0, attends, 0.5, 10, 1.5, **switches).double()


@pytest.mark.parametrize(("intra", "inter"), [(True, True), (True, False), (False, True)])
def test_the_mask_holds_weighted_relevance_where_connected(intra, inter):
    graph = graph_with([Attends(intra, inter)])
    adjacency = graph.adjacency(*fragments([5, 1, 3, 12], 4))
    mask = graph.attention_mask(adjacency, graph.attends[0])
    for i in range(8):
        for j in range(8):
            of_one_modality = (i < 4) == (j < 4)
            used = (intra if of_one_modality else inter) and adjacency.connected[i, j]
            assert mask[i, j] == (1.5 * adjacency.relevance[i, j] if used else -math.inf)


def test_without_connection_everything_attends_and_without_relevance_evenly():
    inputs = fragments([5, 1, 3, 12], 4)
    graph = graph_with([Attends(True, True)], use_connection=False)
    assert graph.attention_mask(graph.adjacency(*inputs), graph.attends[0]).isfinite().all()
    graph = graph_with([Attends(True, True)], use_relevance=False)
    adjacency = graph.adjacency(*inputs)
    mask = graph.attention_mask(adjacency, graph.attends[0])
    assert (mask[adjacency.connected] == 0).all()
    assert (mask[~adjacency.connected] == -math.inf).all()


def test_within_modalities_the_captions_do_not_reach_the_images():
    image, text, *local = fragments([5, 1, 3, 12], 4)
    graph = graph_with([Attends(True, False)])
    moved = normalize(text.roll(1, dims=1))
    enhanced, enhanced_text, _ = graph(image, text, *local)
    other, other_text, _ = graph(image, moved, *local)
    torch.testing.assert_close(enhanced, other)
    assert not torch.allclose(enhanced_text, other_text)
    torch.testing.assert_close(enhanced.norm(dim=1), torch.ones(4).double())
