"""One run in a process of its own, with its output in a log file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from itm_harness.benchmarks.common.errors import RunError

COMMAND = ("-P", "-m", "itm_harness.benchmarks.commands")  # -P: a folder named datasets here is not the library
BY_INPUT, STOPPED = 2, 130  # exit codes of the command line: bad input, stopped on request


class Child:
    """`itm …`. log: what it prints is added there."""

    def __init__(
        self, arguments: Sequence[str], log: Path, environment: Mapping[str, str], own_session: bool = False
    ) -> None:
        """own_session: a Ctrl-C in this terminal does not reach it; `stop` does. Raises RunError without a log."""
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            self.log = open(log, "a+b")  # noqa: SIM115 - as long as it runs
        except OSError as error:
            raise RunError(f"{log} cannot be written: {error.strerror}; choose another --output.") from error
        self.begins = self.log.seek(0, os.SEEK_END)
        self.process = subprocess.Popen(
            [sys.executable, *COMMAND, *arguments],
            stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=own_session, preexec_fn=_ignore_slurms_warning,
        )  # fmt: skip

    def stop(self, at_once: bool = False) -> None:
        """Ask it to save and end; at_once: after it was asked, without saving."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT if at_once else signal.SIGTERM)

    def wait(self) -> int:
        """Its exit code. A signal handler may wait too: nothing is locked meanwhile."""
        if self.process.returncode is None:
            os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return self.process.wait()

    def reason(self) -> str:
        """Why it failed: what ended it, or the last line that it printed."""
        code = self.process.returncode
        if code < 0:
            return f"ended by {signal.Signals(-code).name}; see {self.log.name}"
        self.log.seek(self.begins)
        lines = self.log.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
        return said if code == BY_INPUT else f"{said} (exit code {code}; see {self.log.name})"


def _ignore_slurms_warning() -> None:
    """Slurm announces the end of a job to all of its processes; submitit's process answers for this one."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
