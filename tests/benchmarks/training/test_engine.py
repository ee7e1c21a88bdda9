"""The training loop: schedule, frozen parameters, steps that are skipped, what a stop does."""

import errno
import signal
import time
from threading import Event

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.interrupt import Interrupted
from itm_harness.benchmarks.training import checkpoint, engine
from itm_harness.benchmarks.training.checkpoint import BEST, read_about
from itm_harness.benchmarks.training.engine import Trainer, make_accelerator
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.split import open_split
from itm_harness.methods.base import EmbeddingMethod, Group, MethodConfig, Progress
from itm_harness.methods.recipe import resolve
from itm_tests.trees import write_f30k


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


ABOUT = {
    "method": "toy", "variant": "", "dataset": "f30k", "config": {}, "vocabulary": None, "seed": 0, "code_hash": "",
}  # fmt: skip


@pytest.fixture
def trainer(tmp_path, accelerator, quiet):
    write_f30k(tmp_path)
    dataset = open_dataset("f30k", tmp_path)

    def make(kind=Toy, dev=False, **overrides):
        values = {"train.epochs": 4, "train.batch_size": 10, "train.select": "last", **overrides}
        recipe = resolve(kind, "toy", "f30k", overrides=values)
        method = kind(MethodConfig())
        split = open_split(dataset, "train", method.inputs())
        chosen = open_split(dataset, "dev", method.inputs()) if dev else None
        return method, Trainer(method, recipe, split, chosen, tmp_path / "run", 0, accelerator, quiet, ABOUT)

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

    def watched(model, batch, progress):
        before = copies(method, made.optimizer)
        found = step(model, batch, progress)
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
        made._step(method, batch, Progress(number))


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


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", False), ("bf16", True)])
def test_fp32_is_float32_in_cudnn_too(monkeypatch, accelerator, precision, allowed):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", not allowed)
    AcceleratorState._reset_state(reset_partial_state=True)
    make_accelerator("cpu", precision)
    assert torch.backends.cudnn.allow_tf32 is allowed


class Dropping(Toy):
    """With a part that its maker, like a library of pretrained models, leaves in evaluation."""

    def __init__(self, config):
        super().__init__(config)
        self.drop = torch.nn.Dropout(0.1).eval()
        self.modes = []

    def before_step(self, progress):
        self.modes.append((self.training, self.drop.training))


def test_every_part_trains_in_every_step_also_after_an_evaluation(trainer):
    method, made = trainer(Dropping, dev=True, **{"train.select": "dev", "train.epochs": 2})
    made.run()
    assert method.modes == [(True, True)] * 12


class Walking(Toy):
    """Notes what is encoded for the neighbour sampler, and in which precision."""

    phases = ("graph",)
    parameter_groups = EmbeddingMethod.parameter_groups

    def embed_images(self, images):
        if not self.training:
            self.seen.append("images")
        return super().embed_images(images)

    def embed_texts(self, texts):
        if not self.training:
            self.seen.append(torch.is_autocast_enabled("cpu"))
        return super().embed_texts(texts)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_neighbour_sampler_encodes_captions_alone_in_the_precision_of_training(trainer, precision):
    method, made = trainer(Walking, **{"train.sampler": "neighbour", "phases.graph": {"epoch": 0}})
    AcceleratorState._reset_state(reset_partial_state=True)
    made.accelerator = make_accelerator("cpu", precision)
    method.seen.clear()
    assert sorted(made._neighbour_order()) == list(range(60))
    assert set(method.seen) == {precision == "bf16"}


class Signalling(Toy):
    """Sets an event when an epoch has begun to change what the one before has left, and sends Ctrl-C at a step."""

    stop_at = -1

    def __init__(self, config):
        super().__init__(config)
        self.changed = Event()

    def before_step(self, progress):
        super().before_step(progress)
        if progress.step == 8:
            self.changed.set()
        if progress.step == self.stop_at:
            signal.raise_signal(signal.SIGINT)


EPOCHS = {"train.epochs": 2, "phases.images": {"epoch": 0}}


def test_an_epoch_is_saved_as_it_was_while_the_next_one_trains(trainer, monkeypatch):
    method, made = trainer(Signalling, **EPOCHS)
    save, save_model, order = made.checkpoints.save, engine.save_model, []

    def late(step, *arguments):
        assert method.changed.wait(60)  # of the first epoch: when two steps of the second one have been done
        save(step, *arguments)
        order.append(f"checkpoint {step}")

    def best(path, model, about):
        save_model(path, model, about)
        order.append(f"best {about['epoch']}")
        if about["epoch"] == 0:
            saved.append(load_file(path)["image.weight"])

    saved = []
    monkeypatch.setattr(made.checkpoints, "save", late)
    monkeypatch.setattr(engine, "save_model", best)
    made.run()
    assert order == ["checkpoint 6", "best 0", "checkpoint 12", "best 1"]
    weights = [weight for _, weight in method.seen]
    saved.append(load_file(made.folder / "checkpoints/step-00000006/model.safetensors")["image.weight"])
    assert all(torch.equal(weight, weights[6]) for weight in saved)
    assert not torch.equal(weights[6], weights[8])
    assert read_about(made.folder / BEST)["epoch"] == 1
    assert torch.equal(load_file(made.folder / BEST)["image.weight"], method.image.weight)


def test_ctrl_c_ends_training_when_the_last_step_is_saved(trainer, monkeypatch):
    method, made = trainer(Signalling, **EPOCHS)
    method.stop_at = 9
    save = made.checkpoints.save

    def slow(*arguments):
        time.sleep(0.2)
        save(*arguments)

    monkeypatch.setattr(made.checkpoints, "save", slow)
    with pytest.raises(Interrupted):
        made.run()
    assert [path.name for path in made.checkpoints.all()] == ["step-00000006", "step-00000010"]
    assert read_about(made.folder / BEST)["epoch"] == 0


@pytest.mark.parametrize(("epochs", "trained"), [(1, 1), (4, 2)])
def test_a_full_disk_ends_training_at_the_end_of_the_next_epoch_at_the_latest(trainer, monkeypatch, epochs, trained):
    _, made = trainer(**{"train.epochs": epochs})

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(RunError, match=r"step-00000006 cannot be written .*No space left"):
        made.run()
    assert made.state.epoch == trained
    assert not (made.folder / BEST).exists()
