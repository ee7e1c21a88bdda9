"""Writing beside training: a disk takes seconds for what the device computed in one."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from types import TracebackType


class BackgroundWriter:
    """One write at a time, in a thread. Left as a context, it has written all that it was given.

    What a write raises is raised by the next `wait`, `start` or the end of the context, whichever comes first. The
    thread is no daemon: the interpreter does not end while it writes.
    """

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> BackgroundWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.wait()

    def start(self, write: Callable[[], None]) -> None:
        """Wait for the write before, then begin this one. write: may use nothing that training changes meanwhile."""
        self.wait()
        self._thread = Thread(target=self._run, args=(write,), name="writer")
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being written any more. Raises what the write raised, once."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BaseException as error:  # raised again in `wait`
            self._error = error
