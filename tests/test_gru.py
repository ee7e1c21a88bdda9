"""The bidirectional GRU against nn.GRU on single captions."""

import pytest
import torch
from torch import nn

from methods.gru import TimeMajor, mean_of_directions
from methods.text_encoders import BiGRUEncoder

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


def test_states_and_gradients_equal_those_of_single_captions(encoder, words):
    encoder.double()
    cotangent = torch.randn(len(LENGTHS), 9, 6, generator=torch.Generator().manual_seed(2)).double()
    parameters = list(encoder.parameters())
    wanted = caption_by_caption(encoder, words)
    found = mean_of_directions(encoder.rnn, encoder.embed.weight, words, torch.tensor(LENGTHS))
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        torch.autograd.grad((found * cotangent).sum(), parameters),
        torch.autograd.grad((wanted * cotangent).sum(), parameters),
    )


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
