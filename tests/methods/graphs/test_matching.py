"""Node-level matching of all pairs at once against one pair at a time, with context vectors written out."""

import pytest
import torch
from torch.nn.functional import normalize

from itm_harness.benchmarks.bench.references.gsmn import matching_vectors
from itm_harness.methods.graphs.matching import Nodes, gather_rows, match_nodes
from itm_harness.methods.parts.encoded import Ragged

D, BLOCKS = 12, 4
LENGTHS = [([3, 3], [2, 5, 1]), ([1, 4, 2], [1, 1]), ([1], [1]), ([5], [7, 3])]


def random_nodes(lengths, seed):
    """Normalised float64 features, zero behind `lengths`."""
    torch.manual_seed(seed)
    valid = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    features = normalize(torch.randn(*valid.shape, D).double(), dim=-1)
    return Nodes(features * valid[..., None], valid)


@pytest.mark.parametrize(("n_regions", "n_words"), LENGTHS)
def test_matching_vectors_equal_those_of_one_pair_with_explicit_contexts(n_regions, n_words):
    regions, words = random_nodes(n_regions, seed=1), random_nodes(n_words, seed=2)
    visual, textual = match_nodes(regions, words, BLOCKS, inverse_temperature=5.0)
    for i, n in enumerate(n_regions):
        for t, length in enumerate(n_words):
            image, caption = regions.features[i : i + 1, :n], words.features[t : t + 1, :length]
            torch.testing.assert_close(visual[:, t, :n, i].T, matching_vectors(image, caption, BLOCKS, 5.0)[0])
            torch.testing.assert_close(textual[:, t, :length, i].T, matching_vectors(caption, image, BLOCKS, 5.0)[0])


def test_a_region_and_a_word_that_are_equal_match_in_every_block():
    node = random_nodes([1], seed=3)
    for matching in match_nodes(node, node, BLOCKS, inverse_temperature=20.0):
        torch.testing.assert_close(matching, torch.ones(BLOCKS, 1, 1, 1).double())


def test_a_block_without_length_matches_nothing_and_has_a_finite_gradient():
    empty = torch.zeros(1, 1, D).double()
    empty[..., 0] = 1  # the other three blocks are zero
    regions = empty.clone().requires_grad_()
    valid = torch.ones(1, 1, dtype=torch.bool)
    visual, textual = match_nodes(Nodes(regions, valid), Nodes(empty, valid), BLOCKS, inverse_temperature=20.0)
    assert visual.flatten().tolist() == textual.flatten().tolist() == [1, 0, 0, 0]
    (visual.sum() + textual.sum()).backward()
    assert regions.grad.isfinite().all()


@pytest.mark.parametrize(("n_regions", "n_words"), [([3, 2], [2, 4, 3])])
def test_gradients_are_those_of_finite_differences(n_regions, n_words):
    regions, words = random_nodes(n_regions, seed=4), random_nodes(n_words, seed=5)

    def valid_matches(region_features, word_features):
        kept_regions = Nodes(region_features * regions.valid[..., None], regions.valid)
        kept_words = Nodes(word_features * words.valid[..., None], words.valid)
        visual, textual = match_nodes(kept_regions, kept_words, BLOCKS, inverse_temperature=3.0)
        return visual * regions.valid.T, textual * words.valid[..., None]

    inputs = (regions.features.requires_grad_(), words.features.requires_grad_())
    assert torch.autograd.gradcheck(valid_matches, inputs)


def test_rows_are_gathered_in_any_order_and_padded_to_the_longest_of_them():
    ragged = Ragged(torch.arange(1.0, 7.0), torch.tensor([0, 2, 3, 6]))
    values, valid = gather_rows(ragged, torch.tensor([1, 0]))
    assert values.tolist() == [[3, 0], [1, 2]]
    assert valid.tolist() == [[True, False], [True, True]]
    assert gather_rows(ragged)[0].tolist() == [[1, 2, 0], [3, 0, 0], [4, 5, 6]]


def test_nodes_are_cut_into_parts_and_shortened():
    nodes = random_nodes([3, 1, 2], seed=6)
    first, second = nodes.parts([1, 2])
    assert torch.equal(torch.cat([first.features, second.features]), nodes.features)
    shorter = second[:, :2]
    assert torch.equal(shorter.features, nodes.features[1:, :2])
    assert shorter.valid.tolist() == [[True, False], [True, True]]


def test_with_a_known_longest_length_no_value_is_read_and_the_rows_are_the_same():
    ragged, rows = Ragged(torch.arange(1.0, 7.0), torch.tensor([0, 2, 3, 6])), torch.tensor([1, 0])
    for found, wanted in zip(gather_rows(ragged, rows, 2), gather_rows(ragged, rows), strict=True):
        assert torch.equal(found, wanted)
    values, valid = gather_rows(ragged.to(torch.device("meta")), rows.to("meta"), 2)  # reading a value would raise
    assert values.shape == valid.shape == (2, 2)


def test_rows_may_be_empty():
    ragged = Ragged(torch.zeros(0, 2, dtype=torch.int64), torch.tensor([0, 0, 0]))
    values, valid = gather_rows(ragged, torch.tensor([1]))
    assert values.shape == (1, 0, 2)
    assert valid.shape == (1, 0)
