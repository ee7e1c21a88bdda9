"""What two processes gather, sum and draw, against one process with all rows."""

import pytest
import torch
from torch import distributed

from itm_harness.methods.parts.gather import gather_batch, lowest_so_far, own_draws, own_rows, processes, sum_everywhere
from itm_tests.processes import start_two

SHARES = (slice(0, 3), slice(3, 5))  # uneven, as in a last batch


def inputs():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(5, 4, 3, generator=generator, dtype=torch.float64)
    values[3:, 2:] = 0  # the second process's rows are shorter
    flags = torch.tensor([True, False, True, True, False])
    return values, flags, torch.tensor([4, 2, 3, 5, 1])


def weights(values):
    return torch.arange(values.numel(), dtype=values.dtype).view_as(values).cos()


def in_two():
    process = distributed.get_rank()
    values, flags, counts = (tensor[SHARES[process]] for tensor in inputs())
    values = values[:, : (4, 2)[process]].clone().requires_grad_()
    whole, all_flags, ids = gather_batch([values, flags, counts])
    (whole.square() * weights(whole)).sum().backward()
    total = values.detach().sum(dim=(0, 1)).requires_grad_()
    (sum_everywhere(total).square() * (process + 1)).sum().backward()
    shares = gather_batch([torch.arange(7)[own_rows(7)]])[0]
    torch.manual_seed(3)
    with own_draws(torch.device("cpu")):
        own = torch.rand(4)
    return {
        "whole": whole.detach(),
        "flags": all_flags,
        "ids": ids,
        "gradient": values.grad,
        "sum_gradient": total.grad,
        "shares": shares,
        "lowest": lowest_so_far(counts),
        "own": own,
        "together": torch.rand(4),
    }


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return start_two(in_two, tmp_path_factory.mktemp("gather"))()


def test_rows_of_both_processes_in_order_padded_with_zeros(two):
    values, flags, counts = inputs()
    for result in two:
        assert torch.equal(result["whole"], values)
        assert torch.equal(result["flags"], flags)
        assert torch.equal(result["ids"], counts)


def test_a_gradient_is_the_sum_of_what_both_losses_say(two):
    values, _, _ = inputs()
    values.requires_grad_()
    (values.square() * weights(values)).sum().backward()
    torch.testing.assert_close(two[0]["gradient"], 2 * values.grad[:3])
    torch.testing.assert_close(two[1]["gradient"], 2 * values.grad[3:, :2])
    total = inputs()[0].sum(dim=(0, 1))
    for result in two:
        torch.testing.assert_close(result["sum_gradient"], 2 * (1 + 2) * total)


def test_shares_cover_all_rows_once(two):
    assert all(result["shares"].tolist() == list(range(7)) for result in two)


def test_the_lowest_value_so_far_counts_earlier_processes(two):
    assert two[0]["lowest"].tolist() + two[1]["lowest"].tolist() == [4, 2, 2, 2, 1]


def test_processes_draw_differently_inside_and_alike_after(two):
    assert not torch.equal(two[0]["own"], two[1]["own"])
    assert not torch.equal(two[0]["own"], two[0]["together"])
    torch.manual_seed(3)
    assert torch.equal(torch.rand(4), two[0]["together"])
    assert torch.equal(two[0]["together"], two[1]["together"])


def test_one_process_gathers_nothing():
    tensors = list(inputs())
    assert processes() == 1
    assert all(a is b for a, b in zip(gather_batch(tensors), tensors, strict=True))
    assert sum_everywhere(tensors[0]) is tensors[0]
    assert own_rows(7) == slice(0, 7)
    torch.manual_seed(0)
    with own_draws(torch.device("cpu")):
        inside = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), inside)
