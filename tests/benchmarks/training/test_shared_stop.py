"""Processes that train together stop after the same step, whichever of them was asked to."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from itm_harness.benchmarks.common.interrupt import Interrupted, StopRequest
from itm_harness.benchmarks.training.shared_stop import SharedStop
from itm_tests.processes import start_two


def stopped_at(ask_at: int, who: int) -> list[int]:
    """Steps that a process does until it stops; process `who` is asked in step `ask_at`."""
    accelerator, request = Accelerator(cpu=True), StopRequest()
    stop, steps = SharedStop(request, accelerator), 0
    try:
        for step in range(10):
            request.asked = accelerator.process_index == who and step >= ask_at
            steps += 1
            stop.raise_if_asked()
    except Interrupted:
        pass
    return [steps]


def test_both_stop_after_the_same_step_one_later_than_asked(tmp_path):
    assert start_two(stopped_at, tmp_path, 3, 1)() == [[5], [5]]


def processes(others: float, count: int = 2) -> SimpleNamespace:
    """An accelerator of several processes, the others of which say `others` in sum."""
    return SimpleNamespace(
        num_processes=count, device=torch.device("cpu"), reduce=lambda value, how: {"sum": value + others}[how]
    )


def test_at_once_hears_what_is_said_now():
    stop = SharedStop(StopRequest(), processes(others=1))
    with pytest.raises(Interrupted):
        stop.raise_if_asked(at_once=True)
    stop = SharedStop(StopRequest(), processes(others=0))
    stop.raise_if_asked(at_once=True)
    stop.raise_if_asked()


def test_a_process_alone_stops_at_once():
    request = StopRequest()
    stop = SharedStop(request, processes(others=0, count=1))
    stop.raise_if_asked()
    request.asked = True
    with pytest.raises(Interrupted):
        stop.raise_if_asked()
