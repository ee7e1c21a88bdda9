"""Stops at a chosen moment."""

import signal

from itm_harness.benchmarks.training import engine


def interrupt_after(monkeypatch, checks):
    """Send Ctrl-C's signal at the `checks`-th moment at which the engine looks for one."""
    count = iter(range(checks + 1))
    check = engine.StopRequest.raise_if_asked

    def counted(self):
        if next(count, None) == checks - 1:
            signal.raise_signal(signal.SIGINT)
        check(self)

    monkeypatch.setattr(engine.StopRequest, "raise_if_asked", counted)
