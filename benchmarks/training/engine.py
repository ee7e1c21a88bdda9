"""The training engine: the same loop for every method.

What happens in a step depends on the seed and the step's number alone, so that a resumed run repeats an uninterrupted
one bit for bit on CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import broadcast
from rich.console import Console
from torch import Tensor

from itm_harness.benchmarks.common.errors import NotFiniteError, RunError
from itm_harness.benchmarks.common.interrupt import Interrupted, StopRequest
from itm_harness.benchmarks.protocol.evaluate import encode_side, score_split
from itm_harness.benchmarks.protocol.scoring import evaluate
from itm_harness.benchmarks.training.background_writer import BackgroundWriter
from itm_harness.benchmarks.training.checkpoint import BEST, Snapshot, TrainingCheckpoints, save_model
from itm_harness.benchmarks.training.display import training_display
from itm_harness.benchmarks.training.neighbour_sampler import neighbour_order
from itm_harness.benchmarks.training.optimiser import build_optimizer
from itm_harness.benchmarks.training.shared_stop import SharedStop
from itm_harness.datasets.augment import Augmentation
from itm_harness.datasets.batch import Batch
from itm_harness.datasets.loader import epoch_batches, steps_per_epoch
from itm_harness.datasets.split import Split
from itm_harness.methods.base import Method, Progress
from itm_harness.methods.recipe import Recipe

LONGEST_WAIT = timedelta(hours=6)  # of processes for the main one, which evaluates dev
SHOWN_EVERY = 10  # steps between two readings of the loss terms: each one waits for the device
NOT_SCORED = [math.nan] * 6  # in the place of recalls


def make_accelerator(device: str | None, precision: str) -> Accelerator:
    """accelerate on one device, or on all processes of `accelerate launch`. precision: fp32 or bf16."""
    if device and device.startswith("cuda") and not torch.cuda.is_available():
        raise RunError(f"--device {device}: no CUDA device is available here; use --device cpu.")
    if device and device.startswith("cuda:"):
        torch.cuda.set_device(device)
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # a phase may leave parameters without gradient
    waiting = InitProcessGroupKwargs(timeout=LONGEST_WAIT)
    mixed = "bf16" if precision == "bf16" else "no"
    torch.backends.cudnn.allow_tf32 = precision != "fp32"  # else convolutions and GRUs round fp32 to 10 bits unasked
    return Accelerator(cpu=device == "cpu", mixed_precision=mixed, kwargs_handlers=[unused, waiting])


@dataclass
class TrainingState:
    """Where a run stands: all that a resume needs beside model and optimiser.

    epoch, batch: the next batch to train. first_steps: the step at which each phase began. history: one entry per
    epoch with its mean loss, learning rate, dev rsum and recalls. step_seconds, dev_seconds: wall time of all training
    steps (reading included) and of all dev evaluations. order: this epoch's captions, where a sampler chose them.
    skipped, epoch_skipped: steps without a finite loss and gradient, of the run and of this epoch. diverged: why
    training ended early, None where it did not.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    skipped: int = 0
    epoch_skipped: int = 0
    diverged: str | None = None
    loss_sum: float = 0.0
    best_epoch: int = -1
    best_rsum: float = -math.inf
    step_seconds: float = 0.0
    dev_seconds: float = 0.0
    first_steps: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    order: list[int] | None = None


class Trainer:
    """Trains a method by its recipe and leaves `best.safetensors` (selected on dev, or the last epoch) in `folder`."""

    def __init__(
        self,
        method: Method,
        recipe: Recipe,
        train: Split,
        dev: Split | None,
        folder: Path,
        seed: int,
        accelerator: Accelerator,
        console: Console,
        about: dict[str, Any],
        tensorboard: bool = False,
    ) -> None:
        """about: written into the model file, enough to rebuild the method. dev: None where the last epoch is kept."""
        self.recipe, self.train, self.dev, self.seed = recipe, train, dev, seed
        self.folder, self.console, self.about, self.accelerator = folder, console, about, accelerator
        self.method = method.to(accelerator.device)
        self.groups = method.parameter_groups()
        self.parameters = [p for group in self.groups for p in group.parameters]
        self.optimizer = build_optimizer(method, recipe.optim)
        self.checkpoints = TrainingCheckpoints(folder / "checkpoints")
        self.writer = BackgroundWriter()
        self.state = TrainingState()
        self.batches = batches_per_epoch(train, recipe, accelerator.num_processes)
        self.begins = {
            name: begin.first_step(self.batches, recipe.train.epochs) for name, begin in recipe.phases.items()
        }
        self.log = _tensorboard(folder) if tensorboard and accelerator.is_main_process else None

    def resume(self) -> bool:
        """Go on from the newest checkpoint, if there is one."""
        saved = self.checkpoints.load_newest(self.method, self.optimizer)
        if saved is None:
            return False
        self.state = TrainingState(**saved)
        selected = self.state.batch == 0 and self.state.best_epoch == self.state.epoch - 1
        if selected and self.accelerator.is_main_process:  # a kill may have come between the checkpoint and this
            save_model(self.folder / BEST, self.method, self._about_best())
        return True

    def run(self) -> TrainingState:
        """Train to the end, or until it diverges. Raises Interrupted after Ctrl-C or SIGTERM, with everything saved."""
        model = self.accelerator.prepare(self.method)
        epochs = self.recipe.train.epochs
        display = training_display(self.console, epochs, self.batches, self.state.step)
        try:
            with StopRequest() as asked, self.writer:  # however training ends, what was to be saved is on disk
                stop = SharedStop(asked, self.accelerator)
                try:
                    while self.state.epoch < epochs and self.state.diverged is None:
                        self._train_epoch(model, display.step, stop)
                        display.epoch(self.state.epoch, self._finish_epoch(stop))
                except Interrupted:
                    self._save()
                    self._wait_until_saved()
                    raise
                self._wait_until_saved()
        finally:
            display.close()
        return self.state

    def _train_epoch(
        self,
        model: torch.nn.Module,
        show: Callable[[int, int, dict[str, float]], None],
        stop: SharedStop,
    ) -> None:
        state, began = self.state, time.monotonic()
        self._set_learning_rate()
        device = self.accelerator.device  # the sums stay there: to read one is to wait for the step
        loss_sum, skipped = torch.tensor(state.loss_sum, device=device), torch.zeros((), device=device)
        try:
            batches = self._epoch_batches()
            model.train()  # once, as it walks all modules: only encoding, before this and after the epoch, undoes it
            for batch in batches:
                progress = Progress(state.step, state.epoch, self._phases(), state.batch / self.batches)
                terms, unusable = self._step(model, batch.to(device), progress)
                loss_sum += terms["total"].detach().nan_to_num(0, 0, 0)
                skipped += unusable
                if state.step % SHOWN_EVERY == 0:
                    self._show(terms, show)
                state.step += 1
                state.batch += 1
                stop.raise_if_asked()
        finally:
            state.loss_sum = float(loss_sum)
            new = int(skipped)
            state.skipped, state.epoch_skipped = state.skipped + new, state.epoch_skipped + new
            state.step_seconds += time.monotonic() - began

    def _epoch_batches(self) -> Any:
        train, state = self.recipe.train, self.state
        if state.batch == 0:
            state.order = self._neighbour_order() if self._samples_neighbours() else None
        return epoch_batches(
            self.train,
            batch_size=train.batch_size,
            seed=self.seed,
            epoch=state.epoch,
            start=state.batch,
            drop_last=train.drop_last,
            sort_by_length=train.sort_by_length,
            augmentation=Augmentation(self.recipe.augment.regions, self.recipe.augment.words),
            order=state.order,
            process=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            pin=self.accelerator.device.type == "cuda",
        )

    def _samples_neighbours(self) -> bool:
        """From the first epoch that begins after the graph phase has begun (HREM, section 3.4)."""
        return self.recipe.train.sampler == "neighbour" and "graph" in self.state.first_steps

    def _neighbour_order(self) -> list[int]:
        """Every process gets the main one's: where rounding decides, two of them need not agree."""
        device, order = self.accelerator.device, torch.empty(self.train.n_texts, dtype=torch.int64)
        if self.accelerator.is_main_process:
            size, precision = self.recipe.train.eval_batch_size, self.accelerator.mixed_precision
            texts = encode_side("texts", self.method, self.train, size, device, precision)
            order = neighbour_order(texts["embedding"], self.seed + self.state.epoch)
        return broadcast(order.to(device)).tolist()

    def _step(self, model: torch.nn.Module, batch: Batch, progress: Progress) -> tuple[dict[str, Tensor], Tensor]:
        """One optimiser step: the loss terms, and 1.0 where loss or gradient is not finite, else 0.0.

        Such a step changes no parameter and no moment. The device decides that by itself, in the fused optimiser.
        """
        seed = np.random.SeedSequence([self.seed, progress.step])  # in every process: see methods/parts/gather.py
        torch.manual_seed(int(seed.generate_state(1)[0]))
        self.method.before_step(progress)
        terms = model(batch, progress)
        self.accelerator.backward(terms["total"])
        self._drop_frozen_gradients(progress)
        norm = self.accelerator.clip_grad_norm_(self.parameters, self.recipe.optim.grad_clip)
        unusable = self._unusable(terms["total"], norm)
        self.optimizer.found_inf = unusable  # where it is 1, the fused kernels leave everything as it is
        self.optimizer.step()  # itself: accelerate's wrapper serves gradient scaling and accumulation, not used here
        self.optimizer.zero_grad(set_to_none=True)
        self.method.after_step(progress)
        return terms, unusable

    def _unusable(self, total: Tensor, norm: Tensor) -> Tensor:
        """1.0 where the loss or the norm of the gradient is not finite in some process, else 0.0; on the device."""
        unusable = (~(total.detach().isfinite() & norm.isfinite())).float()
        if self.accelerator.num_processes > 1:
            unusable = self.accelerator.reduce(unusable, "sum").clamp(max=1)
        return unusable

    def _drop_frozen_gradients(self, progress: Progress) -> None:
        for group in self.groups:
            if group.frozen_until and not progress.reached(group.frozen_until):
                for parameter in group.parameters:
                    parameter.grad = None

    def _phases(self) -> frozenset[str]:
        reached = frozenset(name for name, first in self.begins.items() if self.state.step >= first)
        for name in reached - set(self.state.first_steps):
            self.state.first_steps[name] = self.state.step
        return reached

    def _set_learning_rate(self) -> None:
        decays = sum(self.state.epoch >= e for e in self.recipe.optim.decay_epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.recipe.optim.decay_factor**decays

    def _show(self, terms: dict[str, Tensor], show: Callable[[int, int, dict[str, float]], None]) -> None:
        numbers = torch.stack([value.detach().float() for value in terms.values()]).tolist()  # one reading for all
        values = dict(zip(terms, numbers, strict=True))
        show(self.state.epoch, self.state.step, values)
        if self.log:
            for name, value in values.items():
                self.log.add_scalar(f"loss/{name}", value, self.state.step)

    def _finish_epoch(self, stop: SharedStop) -> str:
        """Evaluate on dev, keep the model if it is the one to keep, save. Returns a line about the epoch."""
        state, began = self.state, time.monotonic()
        recalls = self._dev_recalls(stop) if self.dev is not None else None
        state.diverged = self._divergence(scored=recalls is None or all(map(math.isfinite, recalls)))
        recalls = recalls if state.diverged is None else None
        rsum = None if recalls is None else _rsum(*recalls)
        kept = self._is_to_keep(rsum)
        if kept:
            state.best_epoch, state.best_rsum = state.epoch, -math.inf if rsum is None else rsum
        evaluated = {} if recalls is None else {"dev_rsum": rsum, "dev_recalls": recalls}
        state.history.append({**self._history_entry(), **evaluated})
        line = self._line(rsum)
        if self.log and rsum is not None:
            self.log.add_scalar("dev/rsum", rsum, state.step)
        state.epoch, state.batch, state.loss_sum, state.epoch_skipped = state.epoch + 1, 0, 0.0, 0
        state.dev_seconds += time.monotonic() - began
        self._save(selected=kept)
        stop.raise_if_asked(at_once=True)
        return f"{line}, {(state.step_seconds + state.dev_seconds) / 60:.1f} min"

    def _divergence(self, scored: bool) -> str | None:
        """Why nothing more can be learnt, None where it can; the same in every process. scored: were scores finite?"""
        after = f"after epoch {self.state.epoch + 1}"
        if self.state.epoch_skipped == self.state.batch:
            return f"no step of epoch {self.state.epoch + 1} had a finite loss and gradient"
        if not all(p.isfinite().all() for p in self.parameters):
            return f"the parameters are not finite {after}"
        if not scored:
            return f"the scores of the dev split are not finite {after}"
        return None

    def _is_to_keep(self, rsum: float | None) -> bool:
        """Is this epoch's model the one to test, as far as is known? The first is, until there is a better one."""
        return self.dev is None or self.state.best_epoch < 0 or (rsum is not None and rsum > self.state.best_rsum)

    def _history_entry(self) -> dict[str, Any]:
        """What an epoch's training was, without its evaluation."""
        state = self.state
        entry = {"epoch": state.epoch, "lr": self.optimizer.param_groups[0]["lr"]}
        if state.epoch_skipped < state.batch:
            entry["loss"] = state.loss_sum / max(1, state.batch)
        if state.epoch_skipped:
            entry["skipped"] = state.epoch_skipped
        return entry

    def _line(self, rsum: float | None) -> str:
        """What is told of an epoch."""
        entry = self.state.history[-1]
        line = f"loss {entry['loss']:.3f}" if "loss" in entry else "no finite loss"
        line += f", {entry['skipped']} steps skipped (not finite)" if "skipped" in entry else ""
        line += "" if rsum is None else f", dev rsum {rsum:.1f} (best {self.state.best_rsum:.1f})"
        return line if self.state.diverged is None else f"{line}; DIVERGED: {self.state.diverged}"

    def _dev_recalls(self, stop: SharedStop) -> list[float]:
        """R@1, R@5, R@10 of both directions on dev, in percent; NaN where scores are not finite.

        The main process scores, and tells the others: all keep the same model.
        """
        recalls = self._scored_recalls(stop) if self.accelerator.is_main_process else NOT_SCORED
        return broadcast(torch.tensor(recalls, dtype=torch.float64, device=self.accelerator.device)).tolist()

    def _scored_recalls(self, stop: SharedStop) -> list[float]:
        similarity = score_split(
            self.method,
            self.dev,
            self.recipe.train.eval_batch_size,
            self.accelerator.device,
            self.accelerator.mixed_precision,
            stop.raise_if_asked if self.accelerator.num_processes == 1 else lambda: None,
        )
        try:
            found = evaluate(similarity, self.dev.image_of_text)
        except NotFiniteError:
            return NOT_SCORED
        return [recall for side in (found.i2t, found.t2i) for recall in (side.r1, side.r5, side.r10)]

    def _about_best(self) -> dict[str, Any]:
        rsum = self.state.best_rsum if math.isfinite(self.state.best_rsum) else None
        return {**self.about, "epoch": self.state.best_epoch, "dev_rsum": rsum}

    def _save(self, selected: bool = False) -> None:
        """Write a checkpoint beside what follows, from a copy. selected: leave the model as the one to test as well.

        That after its checkpoint, so that it is never of steps that were lost. Only the main process writes, and the
        others do not wait for it. Raises RunError where the save before failed.
        """
        if not self.accelerator.is_main_process:
            return
        self.writer.wait()  # before the copy: two are never in memory
        model, optimizer = Snapshot(self.method), Snapshot(self.optimizer)
        state, about = asdict(self.state), self._about_best()

        def write() -> None:
            self.checkpoints.save(state["step"], model, optimizer, state)
            if selected:
                save_model(self.folder / BEST, model, about)

        self.writer.start(write)

    def _wait_until_saved(self) -> None:
        """Every process: all read the selected model next, and a launcher ends the rest when the first one ends."""
        self.writer.wait()
        self.accelerator.wait_for_everyone()


def _rsum(i2t_r1: float, i2t_r5: float, i2t_r10: float, t2i_r1: float, t2i_r5: float, t2i_r10: float) -> float:
    """The sum of six recalls, added as an evaluation adds them: bit for bit its rsum."""
    return (i2t_r1 + i2t_r5 + i2t_r10) + (t2i_r1 + t2i_r5 + t2i_r10)


def batches_per_epoch(train: Split, recipe: Recipe, processes: int = 1) -> int:
    """Training steps of an epoch. Raises RunError where the split is smaller than a batch."""
    batches = steps_per_epoch(train, recipe.train.batch_size, recipe.train.drop_last, processes)
    if batches == 0:
        raise RunError(
            f"the training split holds {train.n_texts} captions, fewer than one batch of "
            f"{recipe.train.batch_size}; use a smaller batch: --set train.batch_size=N."
        )
    return batches


def _tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise RunError("--tensorboard needs the tensorboard package: pip install '.[log]'.") from error
    return SummaryWriter(str(folder / "tensorboard"))
