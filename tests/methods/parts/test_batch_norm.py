"""Batch normalisation of two processes against torch's own layer on the whole batch."""

import pytest
import torch
from torch import distributed, nn

from itm_harness.methods.parts.batch_norm import BatchNorm1d, BatchNorm2d, over_whole_batch
from itm_harness.methods.parts.gather import gather_batch
from itm_tests.processes import start_two

SHARES = (slice(0, 3), slice(3, 5))  # uneven, as in a last batch


def features(kind):
    generator = torch.Generator().manual_seed(1)
    shape = (5, 3) if issubclass(kind, nn.BatchNorm1d) else (5, 3, 2, 4)
    return 2 + 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def share_of(kind, process):
    return features(kind)[SHARES[process]]


def normalised(kind, rows):
    """Output, gradients of input, weight and bias, running statistics of a layer in training."""
    layer = kind(3).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([0.5, 2.0, -1.0]))
        layer.bias.copy_(torch.tensor([1.0, 0.0, 3.0]))
    rows = rows.clone().requires_grad_()
    output = layer(rows)
    whole = gather_batch([output])[0]
    (whole.sin() * torch.arange(whole.numel()).view_as(whole).cos()).sum().backward()
    gradients = [rows.grad, layer.weight.grad, layer.bias.grad]
    statistics = [layer.running_mean, layer.running_var, layer.num_batches_tracked]
    return {"output": output.detach(), "gradients": gradients, "statistics": statistics}


def in_two():
    process = distributed.get_rank()
    network = nn.Sequential(nn.BatchNorm2d(3))
    over_whole_batch(network)
    assert type(network[0]) is BatchNorm2d
    return [normalised(kind, share_of(kind, process)) for kind in (BatchNorm1d, BatchNorm2d)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    return start_two(in_two, tmp_path_factory.mktemp("batch_norm"))()


@pytest.mark.parametrize(("number", "kind"), [(0, nn.BatchNorm1d), (1, nn.BatchNorm2d)])
def test_statistics_of_the_whole_batch(two, number, kind):
    wanted = normalised(kind, features(kind))
    found = [result[number] for result in two]
    torch.testing.assert_close(torch.cat([one["output"] for one in found]), wanted["output"])
    for i, values in enumerate(wanted["gradients"]):
        parts = [one["gradients"][i] for one in found]
        # of rows: each process has its own; of parameters: the wrapper takes the mean
        torch.testing.assert_close(torch.cat(parts) / 2 if i == 0 else (parts[0] + parts[1]) / 2, values)
    for one in found:
        for values, expected in zip(one["statistics"], wanted["statistics"], strict=True):
            torch.testing.assert_close(values, expected)


@pytest.mark.parametrize(("kind", "plain"), [(BatchNorm1d, nn.BatchNorm1d), (BatchNorm2d, nn.BatchNorm2d)])
def test_one_process_has_torchs_own_layer(kind, plain):
    wanted, found = normalised(plain, features(plain)), normalised(kind, features(kind))
    assert torch.equal(found["output"], wanted["output"])
    assert set(kind(3).state_dict()) == set(plain(3).state_dict())
