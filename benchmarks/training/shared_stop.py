"""A request to stop that several processes hear together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor

from itm_harness.benchmarks.common.interrupt import Interrupted, StopRequest


class SharedStop:
    """A stop that any of several processes may have been asked for: all of them stop after the same step.

    What they say together is read a step later, when it has long arrived: no step waits for the device that sums it.
    """

    def __init__(self, request: StopRequest, accelerator: Accelerator) -> None:
        self._request, self._accelerator = request, accelerator
        self._said: _Said | None = None  # after the step before

    def raise_if_asked(self, at_once: bool = False) -> None:
        """Called by every process after each step. at_once: wait for what is said now. Raises Interrupted in all."""
        if self._accelerator.num_processes == 1:
            self._request.raise_if_asked()
            return
        before, self._said = self._said, self._sum()
        heard = self._said if at_once else before
        if heard is not None and heard.stop():
            raise Interrupted

    def _sum(self) -> _Said:
        asked = torch.full((), float(self._request.asked), device=self._accelerator.device)
        total = self._accelerator.reduce(asked, "sum")
        host = total.to("cpu", non_blocking=True)
        if total.device.type != "cuda":
            return _Said(host, None)
        sent = torch.cuda.Event()
        sent.record()
        return _Said(host, sent)


class _Said(NamedTuple):
    """How many processes were asked to stop. sent: when `asked` has arrived from the device, None = it has."""

    asked: Tensor
    sent: torch.cuda.Event | None

    def stop(self) -> bool:
        if self.sent is not None:
            self.sent.synchronize()
        return bool(self.asked > 0)
