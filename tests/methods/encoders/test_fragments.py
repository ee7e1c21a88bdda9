"""The fragment encoder against single sets, its padding, and the released k that shrinks in training alone."""

import pytest
import torch

from itm_harness.methods.encoders.fragments import FragmentEncoder

D, LENGTHS = 8, [5, 1, 7, 2]


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return FragmentEncoder(D, heads=2, dropout=0.0, residual_weight=0.7)


@pytest.fixture
def fragments():
    return torch.randn(len(LENGTHS), 7, D, generator=torch.Generator().manual_seed(1))


def of_one_set(encoder, rows, k):
    """The encoder's result for (len, d), written out."""
    base = rows.sort(dim=0, descending=True).values[:k].mean(dim=0)
    return 0.7 * base + 0.3 * encoder.relation(rows[None])[0].mean(dim=0)


@pytest.mark.parametrize(("training", "k"), [(False, [2, 1, 2, 2]), (True, [2, 1, 1, 1])])
def test_a_batch_equals_its_sets(encoder, fragments, training, k):
    encoder.train(training)
    wanted = [of_one_set(encoder, f[:n], k) for f, n, k in zip(fragments, LENGTHS, k, strict=True)]
    found = encoder(fragments, torch.tensor(LENGTHS))
    torch.testing.assert_close(found, torch.stack(wanted))


def test_padding_and_the_order_of_a_set_change_nothing(encoder, fragments):
    encoder.eval()
    lengths = torch.tensor(LENGTHS)
    padding = torch.arange(7) >= lengths[:, None]
    found = encoder(fragments, lengths)
    torch.testing.assert_close(encoder(torch.where(padding[:, :, None], 9.0, fragments), lengths), found)
    reversed_set = fragments[2:3].flip(1)
    torch.testing.assert_close(encoder(reversed_set, lengths[2:3])[0], found[2])


def test_without_relations_there_is_nothing_to_train(fragments):
    encoder = FragmentEncoder(D, heads=2, dropout=0.0, residual_weight=0.7, relations=False)
    assert list(encoder.parameters()) == []
    lengths = torch.tensor(LENGTHS)
    torch.testing.assert_close(encoder(fragments, lengths), encoder.strongest(fragments, lengths))
