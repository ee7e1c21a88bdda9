"""The training loop: schedule, frozen parameters, steps that are skipped, what a stop does."""

import pytest
import torch

from benchmarks.engine import Trainer, make_accelerator
from benchmarks.errors import RunError
from datasets.precomp import open_dataset
from methods.base import EmbeddingMethod, Group, MethodConfig
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


@pytest.fixture
def train(tmp_path, accelerator, quiet):
    write_f30k(tmp_path)
    dataset = open_dataset("f30k", tmp_path)

    def call(**overrides):
        values = {"train.epochs": 4, "train.batch_size": 10, "train.select": "last", **overrides}
        recipe = resolve(Toy, "toy", "f30k", overrides=values)
        method = Toy(MethodConfig())
        split = dataset.split("train", method.inputs())
        trainer = Trainer(method, recipe, split, None, tmp_path / "run", 0, accelerator, quiet, {})
        return method, trainer, trainer.run()

    return call


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
