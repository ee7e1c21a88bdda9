"""Parameter groups become an optimiser."""

import pytest
import torch

from itm_harness.benchmarks.training.optimiser import build_optimizer
from itm_harness.methods.base import EmbeddingMethod, Group, MethodConfig
from itm_harness.methods.errors import MethodError
from itm_harness.methods.recipe import Optim


class Two(EmbeddingMethod):
    def __init__(self, config):
        super().__init__(config)
        self.a, self.b = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

    def embed_images(self, images):
        return self.a(images.regions.mean(dim=1))

    def embed_texts(self, texts):
        return self.b(texts.words)

    def parameter_groups(self):
        slow = Group("b", [*self.b.parameters()], lr_factor=0.1, weight_decay=0.0)
        return [Group("a", [*self.a.parameters()]), slow]


def test_groups_keep_their_order_factor_and_decay():
    optimizer = build_optimizer(Two(MethodConfig()), Optim(lr=2e-3, weight_decay=0.01))
    assert isinstance(optimizer, torch.optim.AdamW)
    first, second = optimizer.param_groups
    assert (first["lr"], first["weight_decay"]) == (2e-3, 0.01)
    assert (second["lr"], second["initial_lr"], second["weight_decay"]) == (pytest.approx(2e-4),) * 2 + (0.0,)


def test_adam_is_not_adamw():
    optimizer = build_optimizer(Two(MethodConfig()), Optim(name="adam", weight_decay=0))
    assert type(optimizer) is torch.optim.Adam


def test_a_forgotten_or_doubled_parameter_is_an_error():
    method = Two(MethodConfig())
    method.parameter_groups = lambda: [Group("a", [*method.a.parameters()])]
    with pytest.raises(MethodError, match=r"b\.weight"):
        build_optimizer(method, Optim())
    method.parameter_groups = lambda: [Group("a", [*method.parameters(), method.a.weight])]
    with pytest.raises(MethodError, match="twice"):
        build_optimizer(method, Optim())


def test_a_fused_step_equals_adamw_written_out():
    torch.manual_seed(0)
    method = Two(MethodConfig())
    optimizer = build_optimizer(method, Optim(lr=0.01, weight_decay=0.1))
    weight, moments = method.a.weight.detach().clone(), [torch.zeros(2, 2), torch.zeros(2, 2)]
    for step in range(1, 4):
        gradient = torch.randn(2, 2)
        method.a.weight.grad = gradient.clone()
        optimizer.step()
        moments[0] = 0.9 * moments[0] + 0.1 * gradient
        moments[1] = 0.999 * moments[1] + 0.001 * gradient**2
        first, second = moments[0] / (1 - 0.9**step), moments[1] / (1 - 0.999**step)
        weight = weight * (1 - 0.01 * 0.1) - 0.01 * first / (second.sqrt() + 1e-8)
        torch.testing.assert_close(method.a.weight.detach(), weight)
