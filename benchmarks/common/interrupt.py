"""Ctrl-C and SIGTERM stop a training between two steps, so that what is saved is consistent."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType

AGAIN = 1.0  # seconds after which a second Ctrl-C is one: launchers pass the terminal's on, so that it comes twice


class Interrupted(Exception):
    """Training was asked to stop; everything is saved."""


class StopRequest:
    """While entered, the first signal sets `asked`; a second Ctrl-C interrupts at once.

    Only in the main thread: Python lets no other one answer signals.
    """

    def __init__(self) -> None:
        self.asked = False
        self._first: float | None = None

    def __enter__(self) -> StopRequest:
        answers = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if answers else ()
        self._before = {number: signal.signal(number, self._ask) for number in numbers}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._first is not None and number == signal.SIGINT and time.monotonic() - self._first > AGAIN:
            raise KeyboardInterrupt
        self._first = self._first or time.monotonic()
        self.asked = True

    def raise_if_asked(self) -> None:
        """Raises Interrupted where a stop was asked for."""
        if self.asked:
            raise Interrupted
