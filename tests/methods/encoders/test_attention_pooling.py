"""Attention pooling: against the formula of one head and one set at a time, and what padding does."""

import torch
from torch.nn.functional import normalize

from itm_harness.methods.encoders.attention_pooling import AttentionPooling, shares

D, HEADS = 6, 3


def made(n=4, slots=5):
    torch.manual_seed(0)
    pool = AttentionPooling(D, HEADS).double()
    query, fragments = torch.randn(n, D).double(), torch.randn(n, slots, D).double()
    return pool, query.requires_grad_(), fragments.requires_grad_()


def reference(pool, query, fragments, lengths):
    """One set, one head, one slot after the other."""
    rows = []
    for q, slots, length in zip(query, fragments, lengths, strict=True):
        heads = []
        for to_query, to_key, to_value in zip(pool.query, pool.key, pool.value, strict=True):
            logits = [normalize(to_key(slot), dim=0) @ normalize(to_query(q), dim=0) for slot in slots[:length]]
            weights = torch.stack(logits).softmax(dim=0)
            heads.append(sum(w * to_value(slot) for w, slot in zip(weights, slots, strict=False)))
        rows.append(sum(heads) / len(heads))
    return torch.stack(rows)


def with_gradients(values, pool, *inputs):
    cotangent = torch.linspace(-1, 1, values.numel()).view_as(values)
    return values, torch.autograd.grad((values * cotangent).sum(), [*pool.parameters(), *inputs])


def test_it_is_the_mean_of_heads_that_attend_by_cosine():
    pool, query, fragments = made()
    found = with_gradients(pool(query, fragments), pool, query, fragments)
    wanted = with_gradients(reference(pool, query, fragments, [5] * 4), pool, query, fragments)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


def test_masked_slots_do_not_count():
    pool, query, fragments = made()
    lengths = torch.tensor([5, 1, 3, 2])
    valid = torch.arange(5) < lengths[:, None]
    found = with_gradients(pool(query, fragments, valid), pool, query, fragments)
    wanted = with_gradients(reference(pool, query, fragments, lengths.tolist()), pool, query, fragments)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    changed = fragments.detach().masked_fill(~valid[:, :, None], 7.0)
    torch.testing.assert_close(pool(query, changed, valid), found[0])


def test_gradients_can_be_scaled_in_place():
    """As clipping does: no two of them lie in the same memory."""
    pool, query, fragments = made()
    pool(query, fragments).sum().backward()
    before = [parameter.grad.clone() for parameter in pool.parameters()]
    for parameter in pool.parameters():
        parameter.grad.mul_(0.5)
    for parameter, whole in zip(pool.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.grad, whole / 2)


@torch.no_grad()
def test_unmasked_slots_do_count():
    pool, query, fragments = made()
    padded = torch.cat([fragments, torch.zeros(4, 2, D)], dim=1)
    assert not torch.allclose(pool(query, padded), pool(query, fragments), atol=1e-3)
    torch.testing.assert_close(pool(query, padded), reference(pool, query, padded, [7] * 4))


@torch.no_grad()
def test_equal_slots_are_their_own_mean():
    pool, query, _ = made()
    slot = torch.randn(4, 1, D).double()
    wanted = torch.stack([value(slot[:, 0]) for value in pool.value]).mean(dim=0)
    torch.testing.assert_close(pool(query, slot.expand(4, 9, D)), wanted)


@torch.no_grad()
def test_the_attention_is_float32_under_autocast():
    """A head whose value is what it attends to: nothing else is rounded to bf16 than keys, query and the outcome."""
    torch.manual_seed(0)
    pool, query, fragments = AttentionPooling(D, 1), torch.randn(50, D), torch.randn(50, 9, D)
    pool.value[0].weight.copy_(torch.eye(D))
    pool.value[0].bias.zero_()
    with torch.autocast("cpu", torch.bfloat16):
        found = pool(query, fragments)
        keys, queries = pool.key[0](fragments)[:, :, None], pool.query[0](query)[:, None]
    assert keys.dtype == torch.bfloat16
    weights = shares(queries, keys, None)
    assert weights.dtype == torch.float32
    assert torch.equal(found, (weights @ fragments)[:, 0].bfloat16().float())
