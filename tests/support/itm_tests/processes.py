"""Two processes of a test that train together, as torchrun starts them, without its launcher."""

from __future__ import annotations

import inspect
import os
import runpy
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed


def start_two(function: Callable[..., Any], folder: Path, *arguments: Any) -> Callable[[], list[Any]]:
    """Call function(*arguments) in two processes; what it returns there is what the returned function waits for.

    function: at the top of a file, which each process loads. It returns what torch.save can store without pickled code.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    place = (inspect.getfile(function), function.__name__)
    running = torch.multiprocessing.spawn(_one_of_two, (port, place, folder, arguments), nprocs=2, join=False)

    def results() -> list[Any]:
        while not running.join():
            pass
        return [torch.load(folder / f"{process}.pt", weights_only=True) for process in range(2)]

    return results


def _one_of_two(process: int, port: int, place: tuple[str, str], folder: Path, arguments: tuple) -> None:
    function = runpy.run_path(place[0])[place[1]]
    os.environ |= {"RANK": str(process), "LOCAL_RANK": str(process), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    torch.save(function(*arguments), folder / f"{process}.pt")
    distributed.destroy_process_group()
