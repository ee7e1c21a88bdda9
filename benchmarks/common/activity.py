"""What a command is doing while it takes long: one line that changes on a terminal, elsewhere now and then a line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

MOMENT, BETWEEN = 2.0, 30.0  # seconds before the first line, and between lines, where there is no terminal


@contextmanager
def activity(console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Yields what is to be told, again and again, what is being done.

    console: default is stderr, so that what a command prints stays what it is.
    """
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _now_and_then(console)
        return
    with console.status("") as status:
        yield lambda words: status.update(Text(words))


def _now_and_then(console: Console) -> Callable[[str], None]:
    due = time.monotonic() + MOMENT

    def tell(words: str) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + BETWEEN
            console.print(words, soft_wrap=True, highlight=False, markup=False)

    return tell
