"""Momentum contrast: what follows and what does not, the order in the queues, InfoNCE against its formula."""

import math

import torch
from torch import nn
from torch.nn.functional import normalize

from itm_harness.methods.losses.momentum import KeyQueues, follow, info_nce, key_encoder


def test_a_key_encoder_is_an_untrained_copy_that_follows_slowly():
    torch.manual_seed(0)
    query = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    key = key_encoder(query)
    assert not any(p.requires_grad for p in key.parameters())
    assert all(p.requires_grad for p in query.parameters())
    before = key[0].weight.clone()
    with torch.no_grad():
        query[0].weight += 1
    assert torch.equal(key[0].weight, before)
    follow(key, query, 0.9)
    torch.testing.assert_close(key[0].weight, before + 0.1)
    follow(key, query, 0.9)
    torch.testing.assert_close(key[0].weight, before + 0.19)


def test_batch_statistics_do_not_follow():
    query = nn.Sequential(nn.BatchNorm1d(4))
    key = key_encoder(query)
    query(torch.randn(8, 4) + 5)
    follow(key, query, 0.5)
    assert torch.equal(key[0].running_mean, torch.zeros(4))
    assert key[0].num_batches_tracked == 0


def keys(first, n=2):
    """Keys that say when they came: image keys positive, text keys negative."""
    numbers = torch.arange(first, first + n).float()[:, None].expand(n, 3)
    return numbers, -numbers


def test_a_queue_is_written_in_order_and_over_the_oldest():
    queues = KeyQueues(5, 3)
    for first in (10, 20, 30):
        queues.hold(*keys(first))
        queues.enqueue()
    assert queues.image[:, 0].tolist() == [31, 11, 20, 21, 30]  # the third batch wraps around
    assert torch.equal(queues.text, -queues.image)
    assert queues.written == 6


def test_held_keys_wait_and_are_written_once():
    queues = KeyQueues(4, 3)
    before = queues.image.clone()
    queues.hold(*keys(1))
    assert torch.equal(queues.image, before)
    queues.enqueue()
    queues.enqueue()
    assert queues.written == 2
    assert torch.equal(queues.image[2:], before[2:])


def test_a_batch_longer_than_the_queue_leaves_its_newest_keys():
    queues = KeyQueues(3, 3)
    queues.hold(*keys(1, 5))
    queues.enqueue()
    assert sorted(queues.image[:, 0].tolist()) == [3, 4, 5]
    assert queues.full


def test_a_queue_is_full_when_no_random_key_is_left():
    queues = KeyQueues(6, 3)
    torch.testing.assert_close(queues.image.norm(dim=1), torch.ones(6))
    assert (queues.image >= 0).all()  # uniform in 0..1 before they are normalised
    full = []
    for first in (1, 2, 3, 4):
        full.append(queues.full)
        queues.hold(*keys(first))
        queues.enqueue()
    assert full == [False, False, False, True]  # count > K/B: from the fourth step on


def test_everything_a_later_step_needs_is_in_the_state():
    queues, other = KeyQueues(4, 3), KeyQueues(4, 3)
    queues.hold(*keys(1, 3))
    queues.enqueue()
    other.load_state_dict(queues.state_dict())
    for q in (queues, other):
        q.hold(*keys(7))
        q.enqueue()
    assert torch.equal(queues.image, other.image)
    assert queues.image[:, 0].tolist() == [8, 2, 3, 7]


def test_a_full_queue_is_asked_anew_after_a_state_is_loaded():
    queues, fresh = KeyQueues(2, 3), KeyQueues(2, 3).state_dict()
    queues.hold(*keys(1))
    queues.enqueue()
    assert queues.full
    torch.nn.ModuleList([queues]).load_state_dict({f"0.{name}": value for name, value in fresh.items()})
    assert not queues.full


def test_info_nce_is_the_log_share_of_the_positive():
    torch.manual_seed(0)
    queries, positives, negatives = torch.randn(4, 5), torch.randn(4, 5), torch.randn(7, 5)
    losses = []
    for query, positive in zip(queries, positives, strict=True):
        q = query / query.norm()
        own = math.exp(float(q @ positive / positive.norm()) / 0.07)
        others = [math.exp(float(q @ negative / negative.norm()) / 0.07) for negative in negatives]
        losses.append(-math.log(own / (own + sum(others))))
    found = info_nce(queries, positives, negatives, 0.07)
    torch.testing.assert_close(found, torch.tensor(sum(losses) / 4))


def test_info_nce_of_equal_keys_is_the_log_of_their_number():
    queries = normalize(torch.randn(3, 4), dim=1)
    key = torch.ones(1, 4)
    torch.testing.assert_close(
        info_nce(queries, key.expand(3, 4), key.expand(9, 4), 0.07), torch.tensor(math.log(10.0))
    )


def test_info_nce_has_exact_gradients():
    torch.manual_seed(0)
    queries, positives = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    negatives = torch.randn(5, 4, dtype=torch.float64)
    torch.autograd.gradcheck(lambda q, p: info_nce(q, p, negatives, 0.5), (queries, positives))
