"""Real runs in processes of their own, on a miniature data set: started, watched, killed, compared."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from itm_harness.benchmarks.commands import app as harness
from itm_harness.benchmarks.protocol.evaluate import encode_gallery
from itm_harness.benchmarks.records.schema import Record
from itm_harness.benchmarks.records.store import read_record
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.training.checkpoint import BEST
from itm_tests.trees import write_f30k

# Wall times, memory and date: all else in a record has to be the same.
MEASURED = {
    "total_seconds", "train_seconds", "seconds_per_step", "encode_seconds", "score_seconds", "peak_memory", "created",
}  # fmt: skip


class Run:
    """One command into one folder. size: of the embeddings; larger ones make checkpoints that take longer to write."""

    def __init__(self, data: Path, output: Path, size: int = 32, seed: int = 0, epochs: int = 4) -> None:
        self.data, self.output = data, output
        self.overrides = {"text.bert": None, "embed_size": size, "train.batch_size": 40, "train.epochs": epochs}
        settings = [f"--set={key}={json.dumps(value)}" for key, value in self.overrides.items()]
        places = ["--data-root", str(data), "--output", str(output), "--device", "cpu"]
        self.arguments = ["run", "--method", "gpo", "--dataset", "f30k", *places, *settings, f"--seeds={seed}"]

    def start(self, before: Callable[[], None] = lambda: None) -> Process:
        """before: called in the new process."""
        log = self.output.parent / f"{self.output.name}-{uuid.uuid4().hex[:8]}.log"
        return Process(lambda: (before(), command(self.arguments)), log)

    @property
    def folder(self) -> Path:
        """Of checkpoints and the selected model."""
        (found,) = (self.output / "runs").iterdir()
        return found

    @property
    def record_path(self) -> Path:
        """The JSON of its record."""
        (found,) = (self.output / "results" / "local" / "records").glob("*.json")
        return found

    def encodings(self) -> dict[str, torch.Tensor]:
        """Of the test split, by the selected model."""
        job = Job(RunOptions("gpo", "f30k", self.data, overrides=self.overrides, output=self.output))
        method = job.build(0)
        method.load_state_dict(load_file(self.folder / BEST))
        images, texts = encode_gallery(method, job.split("test"), 64, torch.device("cpu"))
        return {"images": images["embedding"], "texts": texts["embedding"]}


class Process:
    """A forked process: it has imported everything already, so that its moments are those of the work itself."""

    def __init__(self, work: Callable[[], object], log: Path) -> None:
        self.log, self.pid = log, os.fork()
        if self.pid == 0:
            self._become(work)
        self.code: int | None = None

    def _become(self, work: Callable[[], object]) -> None:
        """Never returns."""
        code = 1
        try:
            with self.log.open("w") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            work()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def running(self) -> bool:
        """False once it has ended; then `code` is its exit code, negative for a signal."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is None

    def wait(self) -> int:
        """Its exit code."""
        while self.running():
            time.sleep(0.005)
        return self.code

    def kill_when(self, moment: Callable[[], bool]) -> bool:
        """SIGKILL it as soon as `moment` holds. Was it killed? Not if it came to its end before."""
        while self.running():
            if moment():
                os.kill(self.pid, signal.SIGKILL)
                return self.wait() == -signal.SIGKILL
            time.sleep(0.0005)  # between two looks: the run needs the processor more
        return False

    def said(self) -> str:
        """All that it printed."""
        return self.log.read_text(encoding="utf-8")


def command(arguments: list[str]) -> None:
    """harness.py with these arguments."""
    sys.argv = ["harness.py", *arguments]
    harness.main()


def write_data(folder: Path) -> Path:
    """A data root with a miniature f30k."""
    write_f30k(folder, images=32)
    return folder


def require_whole(output: Path) -> int:
    """Everything that bears its final name can be read. Returns how many files that are."""
    files = [p for p in output.rglob("*") if p.is_file() and ".part" not in "/".join(p.relative_to(output).parts)]
    for path in files:
        if path.suffix == ".json" and path.parent.name == "records":
            read_record(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".safetensors":
            load_file(path)
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                dict(arrays)
    return len(files)


def require_equal(run: Run, whole: Run) -> None:
    """Record, ranks, scores, selected model and encodings of both are the same, bit for bit."""
    kept, expected = told(read_record(run.record_path)), told(read_record(whole.record_path))
    differing = [name for name in expected if kept[name] != expected[name]]
    require(not differing, f"the records differ in {differing}")
    require_same_arrays(*(dict(np.load(r.record_path.with_suffix(".npz"))) for r in (run, whole)))
    require_same_arrays(*(load_file(r.folder / BEST) for r in (run, whole)))
    require_same_arrays(run.encodings(), whole.encodings())


def told(record: Record) -> dict:
    """What a record says, without what is measured of the machine."""
    return record.model_dump(mode="json", exclude=MEASURED)


def require_same_arrays(one: dict, other: dict) -> None:
    """Same names, types and bytes."""
    require(one.keys() == other.keys(), f"other arrays: {sorted(one)} and {sorted(other)}")
    for name, array in one.items():
        left, right = np.asarray(array), np.asarray(other[name])
        same = (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())
        require(same, f"{name} differs")


def require(holds: bool, otherwise: str) -> None:
    """An assertion that no option of the interpreter removes."""
    if not holds:
        raise AssertionError(otherwise)
