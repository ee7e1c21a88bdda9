"""What a training shows: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_SECONDS = 30.0  # without a terminal: a line at most so often within an epoch


class Display(Protocol):
    """What the engine tells while it trains."""

    def step(self, epoch: int, step: int, terms: dict[str, float]) -> None: ...
    def epoch(self, epoch: int, line: str) -> None: ...
    def note(self, text: str) -> None: ...
    def close(self) -> None: ...


def training_display(console: Console, epochs: int, steps_per_epoch: int, done: int) -> Display:
    """The display that fits where the output goes. done: steps already made (after a resume)."""
    kind = LiveDisplay if console.is_terminal else PlainDisplay
    return kind(console, epochs, steps_per_epoch, done)


def _losses(terms: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.3f}" for name, value in terms.items())


class LiveDisplay:
    """One line that moves: epoch, bar, loss terms, rate, time left."""

    def __init__(self, console: Console, epochs: int, steps_per_epoch: int, done: int) -> None:
        self.epochs = epochs
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=console,
        )
        total = epochs * steps_per_epoch
        self.task = self.progress.add_task("train", total=total, completed=done, epoch="", rate="", losses="")
        self.progress.start()

    def step(self, epoch: int, step: int, terms: dict[str, float]) -> None:
        """After each step."""
        speed = self.progress.tasks[0].speed
        rate = f"{speed:.1f} steps/s" if speed else ""
        self.progress.update(
            self.task, completed=step, epoch=f"{epoch + 1}/{self.epochs}", rate=rate, losses=_losses(terms)
        )

    def epoch(self, epoch: int, line: str) -> None:
        """After each epoch's dev evaluation."""
        self.progress.console.print(f"epoch {epoch + 1}/{self.epochs}: {line}", highlight=False)

    def note(self, text: str) -> None:
        """Something worth a line of its own."""
        self.progress.console.print(text, highlight=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.progress.stop()


class PlainDisplay:
    """Plain lines, for logs and pipes."""

    def __init__(self, console: Console, epochs: int, steps_per_epoch: int, done: int) -> None:
        self.console, self.epochs, self.total = console, epochs, epochs * steps_per_epoch
        self.began = self.shown = time.monotonic()
        self.done = done

    def step(self, epoch: int, step: int, terms: dict[str, float]) -> None:
        """A line where PLAIN_SECONDS have passed since the last."""
        now = time.monotonic()
        if now - self.shown < PLAIN_SECONDS:
            return
        self.shown = now
        rate = (step - self.done) / (now - self.began)
        left = (self.total - step) / rate / 60 if rate else 0.0
        self.note(
            f"epoch {epoch + 1}/{self.epochs} step {step}/{self.total} {_losses(terms)} "
            f"({rate:.1f} steps/s, {left:.1f} min left)"
        )

    def epoch(self, epoch: int, line: str) -> None:
        """A line per epoch."""
        self.note(f"epoch {epoch + 1}/{self.epochs}: {line}")

    def note(self, text: str) -> None:
        """One line, never wrapped."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing to undo."""
