import os
import signal
import threading

import pytest

from itm_harness.benchmarks.common import interrupt
from itm_harness.benchmarks.common.interrupt import Interrupted, StopRequest


def ask(number=signal.SIGINT):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered_until_it_is_asked_for(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        stop.raise_if_asked()
        ask(number)
        with pytest.raises(Interrupted):
            stop.raise_if_asked()
    assert signal.getsignal(number) is before


def test_one_ctrl_c_that_arrives_twice_is_one(monkeypatch):
    now = [10.0]
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: now[0])
    with StopRequest() as stop:
        ask()
        now[0] += 0.5
        ask()  # from the launcher, which got the terminal's signal too
        assert stop.asked
        now[0] += 1.0
        with pytest.raises(KeyboardInterrupt):
            ask()


def test_another_thread_leaves_signals_alone():
    before, asked = signal.getsignal(signal.SIGINT), []

    def train():
        with StopRequest() as stop:
            asked.append(stop.asked)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert asked == [False]  # it got so far
    assert signal.getsignal(signal.SIGINT) is before
