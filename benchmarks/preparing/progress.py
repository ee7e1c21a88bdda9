"""How far `prepare` is: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_SECONDS = 30.0  # without a terminal: a line at most so often


@contextmanager
def progress_of(console: Console, name: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Yields what is to be told how many rows of a file there are. done: rows that an earlier call made."""
    if not console.is_terminal:
        yield _plain(console, name, total, done)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=total, completed=done)
        yield lambda rows: progress.update(task, completed=rows)


def _plain(console: Console, name: str, total: int, done: int) -> Callable[[int], None]:
    began = shown = time.monotonic()

    def tell(rows: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown < PLAIN_SECONDS:
            return
        shown = now
        left = (total - rows) * (now - began) / max(rows - done, 1) / 60
        console.print(
            f"{name}: {rows:,} of {total:,}, {left:.1f} min left", soft_wrap=True, highlight=False, markup=False
        )

    return tell
