"""The bidirectional GRU against nn.GRU on single captions."""

import pytest
import torch
from torch import nn

from itm_harness.methods.encoders.gru import TimeMajor, mean_of_directions, mean_over_prefixes, packed_mean
from itm_harness.methods.encoders.text_encoders import BiGRUEncoder

LENGTHS = [3, 7, 1, 7, 4]


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return BiGRUEncoder(vocabulary_size=12, word_dim=5, embed_size=6)


@pytest.fixture
def words():
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 12, (len(LENGTHS), 9), generator=generator)  # two columns of padding
    return ids * (torch.arange(9) < torch.tensor(LENGTHS)[:, None])


def caption_by_caption(encoder, words):
    rows = []
    for ids, n in zip(words, LENGTHS, strict=True):
        states = encoder.rnn(encoder.embed(ids[None, :n]))[0][0]
        rows.append(nn.functional.pad((states[:, :6] + states[:, 6:]) / 2, (0, 0, 0, 9 - n)))
    return torch.stack(rows)


@pytest.mark.parametrize("mean", [mean_of_directions, packed_mean])
def test_states_and_gradients_equal_those_of_single_captions(encoder, words, mean):
    encoder.double()
    cotangent = torch.randn(len(LENGTHS), 9, 6, generator=torch.Generator().manual_seed(2)).double()
    parameters = list(encoder.parameters())
    wanted = caption_by_caption(encoder, words)
    found = mean(encoder.rnn, encoder.embed.weight, words, torch.tensor(LENGTHS))
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        torch.autograd.grad((found * cotangent).sum(), parameters),
        torch.autograd.grad((wanted * cotangent).sum(), parameters),
    )


def test_the_librarys_gru_does_not_run_in_half_precision(encoder, words):
    """cuDNN's would be in float16 under autocast of bfloat16, with gradients that nobody scales."""
    arguments = encoder.rnn, encoder.embed.weight, words, torch.tensor(LENGTHS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = packed_mean(*arguments)
    assert torch.equal(found, packed_mean(*arguments))


def test_prefixes_equal_the_sequences_one_by_one(encoder):
    encoder.double()
    inputs = torch.randn(6, 5, generator=torch.Generator().manual_seed(3)).double()
    cotangents = torch.randn(6, 6, 6, generator=torch.Generator().manual_seed(4)).double()
    parameters = list(encoder.rnn.parameters())
    found = [states[: 6 - i] for i, states in enumerate(mean_over_prefixes(encoder.rnn, inputs))]
    wanted = [encoder.rnn(inputs[None, : 6 - i])[0][0].unflatten(1, (2, -1)).mean(dim=1) for i in range(6)]
    torch.testing.assert_close(found, wanted)
    totals = [
        sum((states * weights[: len(states)]).sum() for states, weights in zip(rows, cotangents, strict=True))
        for rows in (found, wanted)
    ]
    first, second = (torch.autograd.grad(total, parameters) for total in totals)
    torch.testing.assert_close(first, second)


def test_the_encoder_uses_it_and_stays_float32_under_autocast(encoder, words):
    lengths = torch.tensor(LENGTHS)
    plain = encoder(words, lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = encoder(words, lengths)
        mixed.sum().backward()
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plain, rtol=0, atol=0.02)
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


def test_time_major_layout_of_three_captions():
    layout = TimeMajor.of(torch.tensor([1, 3, 2]), 4)
    assert layout.sizes == [3, 2, 1]
    assert layout.rows.tolist() == [1, 2, 0, 1, 2, 1]
    assert layout.times.tolist() == [0, 0, 0, 1, 1, 2]
    assert layout.mirrored.tolist() == [2, 1, 0, 1, 0, 0]
