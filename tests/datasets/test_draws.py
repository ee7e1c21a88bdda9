import numpy as np
import pytest
import torch

from itm_harness.datasets.draws import Draws, Stream

BITS = (1 << 64) - 1


def splitmix(state):
    """The published function on Python's unbounded integers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & BITS
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & BITS
    return state ^ (state >> 31)


def bits_of(stream, seed, epoch, caption, element):
    golden = 0x9E3779B97F4A7C15
    key = int(np.random.SeedSequence([stream, seed, epoch]).generate_state(1, np.uint64)[0])
    return splitmix((splitmix((key + caption * golden) & BITS) + element * golden) & BITS)


def test_numbers_are_splitmix64_of_their_place():
    captions, elements = torch.tensor([[0], [5], [566_746]]), torch.tensor([-1, 0, 1, 35])
    uniform = Draws(3, 7).uniform(Stream.WORDS, captions, elements)
    whole = Draws(3, 7).integers(Stream.WORDS, captions, elements, 30_522)
    for i, caption in enumerate(captions.flatten().tolist()):
        for j, element in enumerate(elements.tolist()):
            bits = bits_of(1, 3, 7, caption, element)
            assert uniform[i, j] == (bits >> 40) / 2**24
            assert whole[i, j] == (bits >> 1) % 30_522


def test_numbers_are_spread_evenly_and_neighbours_are_independent():
    numbers = Draws(0, 0).uniform(Stream.REGIONS, torch.arange(4000)[:, None], torch.arange(36))
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.histogram(numbers, bins=20, range=(0, 1))[0] / numbers.numel()
    assert counts == pytest.approx([0.05] * 20, abs=0.002)
    for a, b in ((numbers[:, 1:], numbers[:, :-1]), (numbers[1:], numbers[:-1])):
        assert np.corrcoef(a.flatten(), b.flatten())[0, 1] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("other", [Draws(1, 0), Draws(0, 1)])
def test_seed_epoch_and_purpose_each_give_other_numbers(other):
    place = torch.arange(1000)[:, None], torch.arange(10)
    first = Draws(0, 0).uniform(Stream.REGIONS, *place)
    for numbers in (other.uniform(Stream.REGIONS, *place), Draws(0, 0).uniform(Stream.WORDS, *place)):
        assert np.corrcoef(first.flatten(), numbers.flatten())[0, 1] == pytest.approx(0, abs=0.05)


def test_whole_numbers_stay_below_their_bound():
    whole = Draws(0, 0).integers(Stream.REPLACEMENTS, torch.arange(5000), torch.tensor(0), 3)
    assert np.bincount(whole) / 5000 == pytest.approx([1 / 3] * 3, abs=0.03)
