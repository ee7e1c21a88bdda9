"""The training loop: schedule, frozen parameters, steps that are skipped, what a stop does."""

import pytest
import torch

from benchmarks.engine import Trainer, make_accelerator
from benchmarks.errors import RunError
from datasets.precomp import open_dataset
from methods.base import EmbeddingMethod, Group, MethodConfig, Progress
from methods.recipe import resolve
from tests.trees import write_f30k


class Toy(EmbeddingMethod):
    """One linear layer a side; the image layer is frozen until the phase `images`."""

    phases = ("images",)

    def __init__(self, config):
        super().__init__(config)
        self.image, self.words = torch.nn.Linear(16, 8), torch.nn.Embedding(40, 8)
        self.seen = []

    def embed_images(self, images):
        return self.image(images.regions.mean(dim=1))

    def embed_texts(self, texts):
        return self.words(texts.words).mean(dim=1)

    def parameter_groups(self):
        image = Group("image", [*self.image.parameters()], lr_factor=0.5, frozen_until="images")
        return [image, Group("text", [*self.words.parameters()])]

    def before_step(self, progress):
        self.seen.append((progress, self.image.weight.detach().clone()))


class Faulty(Toy):
    """A toy whose step 1 has a loss that is not finite, and whose step 3 has such a gradient beside a finite loss."""

    def objective(self, features, ids, progress):
        total = super().objective(features, ids, progress)["total"]
        if progress.step == 1:
            total = total + (features["image"] * torch.nan).sum()
        if progress.step == 3:
            total = total + (features["text"].sum() * 0).sqrt()  # 0, and its gradient is inf · 0
        return {"total": total}


@pytest.fixture
def trainer(tmp_path, accelerator, quiet):
    write_f30k(tmp_path)
    dataset = open_dataset("f30k", tmp_path)

    def make(kind=Toy, **overrides):
        values = {"train.epochs": 4, "train.batch_size": 10, "train.select": "last", **overrides}
        recipe = resolve(kind, "toy", "f30k", overrides=values)
        method = kind(MethodConfig())
        split = dataset.split("train", method.inputs())
        return method, Trainer(method, recipe, split, None, tmp_path / "run", 0, accelerator, quiet, {})

    return make


@pytest.fixture
def train(trainer):
    def call(**overrides):
        method, made = trainer(**overrides)
        return method, made, made.run()

    return call


def copies(method, optimizer):
    """Every parameter and every tensor of the optimiser's state."""
    states = [optimizer.state[p] for p in method.parameters()]
    return [p.detach().clone() for p in method.parameters()] + [v.clone() for s in states for v in s.values()]


def test_a_step_that_is_not_finite_changes_no_parameter_and_no_moment_and_is_counted(trainer):
    method, made = trainer(Faulty, **{"phases.images": {"epoch": 0}, "train.epochs": 1})
    step, changed = made._step, []

    def watched(model, optimizer, batch, progress):
        before = copies(method, made.optimizer)
        found = step(model, optimizer, batch, progress)
        after = copies(method, made.optimizer)
        changed.append(len(before) != len(after) or not all(map(torch.equal, before, after)))
        return found

    made._step = watched
    state = made.run()
    assert changed == [True, False, True, False, True, True]
    assert (state.step, state.skipped) == (6, 2)
    assert torch.tensor([state.loss_sum, *(entry["loss"] for entry in state.history)]).isfinite().all()


def test_a_step_never_waits_for_the_device(trainer, monkeypatch):
    method, made = trainer()
    batch = next(iter(made._epoch_batches()))

    def refuse(tensor, *args):
        raise AssertionError("a value was read in the middle of a step")

    for name in ("__bool__", "__int__", "__float__", "item", "tolist", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, refuse)
    for number in range(2):
        made._step(method, made.optimizer, batch, Progress(number))


def test_the_learning_rate_falls_at_the_beginning_of_its_epochs(train):
    _, _, state = train(**{"optim.lr": 1.0, "optim.decay_epochs": [1, 3]})
    assert [entry["lr"] for entry in state.history] == pytest.approx(
        [0.5, 0.05, 0.05, 0.005]
    )  # the group's factor: 0.5


def test_frozen_parameters_do_not_move_before_their_phase(train):
    method, _, state = train(**{"phases.images": {"epoch": 2}})
    assert state.first_steps == {"images": 12}  # 60 captions, batches of 10
    weights = [weight for _, weight in method.seen]
    assert all(torch.equal(weights[0], w) for w in weights[:13])
    assert not torch.equal(weights[12], weights[13])
    assert [p.reached("images") for p, _ in method.seen] == [False] * 12 + [True] * 12


def test_steps_and_epochs_are_counted_from_zero(train):
    method, _, state = train()
    assert [(p.step, p.epoch) for p, _ in method.seen] == [(s, s // 6) for s in range(24)]
    assert (state.step, state.epoch, state.best_epoch) == (24, 4, 3)


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunError, match="no CUDA device"):
        make_accelerator("cuda", "fp32")
