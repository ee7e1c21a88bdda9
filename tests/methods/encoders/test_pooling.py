"""Pooling operators against loops over single sets, recorded numbers and known answers."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from itm_harness.methods.encoders.pooling import GPOPooling, cls_pool, kmax_pool, max_pool, mean_pool, rank_codes
from itm_tests.places import GOLDEN

LENGTHS = [5, 1, 9, 3, 9, 2]


@pytest.fixture
def features():
    torch.manual_seed(0)
    return torch.randn(len(LENGTHS), 9, 4)


@pytest.fixture
def lengths():
    return torch.tensor(LENGTHS)


def gpo_of_one_set(gpo: GPOPooling, rows: torch.Tensor) -> torch.Tensor:
    """GPO of a single set (len, d), written out from the paper."""
    n, size = len(rows), gpo.code_size
    codes = torch.zeros(n, size, dtype=rows.dtype)
    for p in range(n):
        for i in range(size // 2):
            angle = p * 10000.0 ** (-2 * i / size)
            codes[p, 2 * i], codes[p, 2 * i + 1] = np.sin(angle), np.cos(angle)
    states = gpo.gru(codes[None])[0][0].unflatten(1, (2, -1)).mean(1)
    theta = (gpo.linear(states)[:, 0] / 0.1).softmax(0)
    return (theta[:, None] * rows.sort(dim=0, descending=True).values).sum(0)


def test_gpo_equals_the_loop_over_single_sets_and_so_do_its_gradients(features, lengths):
    torch.manual_seed(1)
    gpo = GPOPooling().double()
    features = features.double().requires_grad_()
    cotangent = torch.randn(len(LENGTHS), 4).double()
    wanted = torch.stack([gpo_of_one_set(gpo, f[:n]) for f, n in zip(features, LENGTHS, strict=True)])
    pooled = gpo(features, lengths)
    torch.testing.assert_close(pooled, wanted, rtol=1e-6, atol=1e-6)
    parameters = [features, *gpo.parameters()]
    ours = torch.autograd.grad((pooled * cotangent).sum(), parameters)
    theirs = torch.autograd.grad((wanted * cotangent).sum(), parameters)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_gpo_gradcheck(features, lengths):
    torch.manual_seed(2)
    gpo = GPOPooling(code_size=4, hidden_size=3).double()
    assert torch.autograd.gradcheck(lambda x: gpo(x, lengths), features.double().requires_grad_())


@pytest.mark.parametrize("name", ["a", "b"])
def test_gpo_reproduces_the_recorded_operator(name):
    case = GOLDEN / "gpo" / "pooling"
    inputs, expected = np.load(case / "inputs.npz"), np.load(case / "expected.npz")
    atol = json.loads((case / "case.json").read_text())["atol"]
    gpo = GPOPooling()
    gpo.load_state_dict(
        {k.removeprefix("weights/"): torch.tensor(inputs[k]) for k in inputs if k.startswith("weights")}
    )
    pooled = gpo(torch.tensor(inputs[f"{name}/features"]), torch.tensor(inputs[f"{name}/lengths"]))
    np.testing.assert_allclose(pooled.detach(), expected[f"{name}/pooled"], rtol=0, atol=atol[f"{name}/pooled"])


def test_gpo_weights_sum_to_one_and_are_zero_behind_the_length(lengths):
    weights = GPOPooling().weights(lengths, 9)
    valid = torch.arange(9) < lengths[:, None]
    torch.testing.assert_close(weights.sum(1), torch.ones(len(LENGTHS)))
    assert (weights[~valid] == 0).all()
    assert weights[1, 0] == 1


def test_rank_codes_of_rank_zero_and_one():
    codes = rank_codes(2, 32)
    assert codes[0].tolist() == [0.0, 1.0] * 16
    assert codes[1, :2].tolist() == pytest.approx([np.sin(1), np.cos(1)])


OPERATORS = {
    "mean": mean_pool,
    "max": max_pool,
    "cls": cls_pool,
    "kmax": lambda f, n: kmax_pool(f, n, 2),
    "gpo": GPOPooling(),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_padding_and_the_company_in_the_batch_change_nothing(name, features, lengths):
    operator = OPERATORS[name]
    pooled = operator(features, lengths)
    valid = torch.arange(9) < lengths[:, None]
    other_padding = torch.where(valid[:, :, None], features, 77.0)
    wider = torch.cat([other_padding, torch.full((len(LENGTHS), 3, 4), -5.0)], dim=1)
    torch.testing.assert_close(operator(wider, lengths), pooled)
    alone = [operator(f[None, :n], torch.tensor([n]))[0] for f, n in zip(features, LENGTHS, strict=True)]
    torch.testing.assert_close(torch.stack(alone), pooled)


@pytest.mark.parametrize("name", ["mean", "max", "kmax", "gpo"])
def test_the_order_of_a_set_does_not_matter(name, features):
    full = torch.full((len(LENGTHS),), 9)
    shuffled = features[:, torch.randperm(9, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(OPERATORS[name](shuffled, full), OPERATORS[name](features, full))


def test_simple_operators_on_a_known_set():
    features = torch.tensor([[[3.0, -1.0], [1.0, -3.0], [2.0, -2.0], [9.0, 9.0]]])
    lengths = torch.tensor([3])
    assert mean_pool(features, lengths).tolist() == [[2.0, -2.0]]
    assert max_pool(features, lengths).tolist() == [[3.0, -1.0]]
    assert cls_pool(features, lengths).tolist() == [[3.0, -1.0]]
    assert kmax_pool(features, lengths, 2).tolist() == [[2.5, -1.5]]
    assert kmax_pool(features, lengths, 10).tolist() == [[2.0, -2.0]]


def test_kmax_shrinks_for_later_rows_only_where_asked():
    features = torch.tensor([[3.0, 1.0, 0.0], [5.0, 0.0, 0.0], [4.0, 2.0, 0.0]])[:, :, None]
    lengths = torch.tensor([3, 1, 3])
    assert kmax_pool(features, lengths, 2).flatten().tolist() == [2.0, 5.0, 3.0]
    assert kmax_pool(features, lengths, 2, shrinking=True).flatten().tolist() == [2.0, 5.0, 4.0]


def test_the_two_largest_are_those_of_topk_and_so_are_their_gradients(features, lengths):
    features[2, 4] = features[2, 1]  # two that are equal
    cotangent, results = torch.randn(len(LENGTHS), 4), []
    valid = torch.arange(9)[None, :, None] < lengths[:, None, None]
    for of_topk in (False, True):
        leaf = features.clone().requires_grad_()
        if of_topk:
            top = leaf.masked_fill(~valid, -math.inf).topk(2, dim=1).values
            pooled = top.masked_fill(top.isinf(), 0).sum(dim=1) / lengths.clamp(max=2)[:, None]
        else:
            pooled = kmax_pool(leaf, lengths, 2)
        results.append((pooled, *torch.autograd.grad(pooled, leaf, cotangent)))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("name", ["plain", "short"])
def test_kmax_and_mean_reproduce_the_recorded_hrem_operators(name):
    case = GOLDEN / "hrem" / "pooling"
    inputs, expected = np.load(case / "inputs.npz"), np.load(case / "expected.npz")
    features, lengths = torch.tensor(inputs[f"{name}/features"]), torch.tensor(inputs[f"{name}/lengths"])
    cotangent = torch.tensor(inputs[f"{name}/cotangent"])
    operators = {f"maxk{k}": lambda f, n, k=k: kmax_pool(f, n, k, shrinking=True) for k in (1, 2, 3)}
    for quantity, operator in {**operators, "avg": mean_pool}.items():
        leaf = features.clone().requires_grad_()
        pooled = operator(leaf, lengths)
        (pooled * cotangent).sum().backward()
        np.testing.assert_allclose(pooled.detach(), expected[f"{name}/{quantity}"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(leaf.grad, expected[f"{name}/{quantity}_grad"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", OPERATORS)
def test_pooling_is_float32_under_autocast(name, features, lengths):
    layer = nn.Linear(4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        projected = layer(features)
        pooled = OPERATORS[name](projected, lengths)
    assert projected.dtype == torch.bfloat16
    torch.testing.assert_close(pooled, OPERATORS[name](projected.float(), lengths))
