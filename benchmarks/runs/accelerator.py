"""accelerate on the device that a user names, also where another one was used before in the same process."""

from __future__ import annotations

from accelerate import Accelerator
from accelerate.state import AcceleratorState, is_initialized

from itm_harness.benchmarks.common.devices import device_there
from itm_harness.benchmarks.training.engine import make_accelerator


def accelerator_on(device: str | None, precision: str) -> Accelerator:
    """accelerate on a device, or on all processes of `accelerate launch`. precision: fp32 or bf16.

    accelerate keeps its choice for the whole process; in a notebook runs on other devices and in other precisions
    follow each other. Raises RunError where there is no such device.
    """
    chosen = device_there(device)
    if is_initialized() and AcceleratorState().num_processes == 1:
        AcceleratorState._reset_state(reset_partial_state=True)
    return make_accelerator(chosen, precision)
