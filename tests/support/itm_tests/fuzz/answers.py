"""What every reader owes to bad input: a clean result, or one sentence that names the file."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.datasets.errors import DataError
from itm_harness.methods.errors import MethodError

SENTENCES = (DataError, MethodError, RunError)
EXAMPLES = 250  # per reader: with ten readers more than 2,000 inputs
MEMORY = 2 << 30  # bytes that reading one small file may need at the very most
SECONDS = 300  # for all examples of a reader together: only a hang takes that long

fuzzed = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
slowly_fuzzed = settings(fuzzed, max_examples=60)  # where one input takes tens of milliseconds


@dataclass
class Tally:
    """How many inputs were tried in this process, how many of them a sentence refused, and for how long."""

    tried: int = 0
    refused: int = 0
    seconds: float = 0.0


TALLY = Tally()


def answered(reader: Callable[[], object], *parts: str | Path) -> str | None:
    """The sentence with which a reader refuses, None where it accepts. Any other exception is the test's failure.

    parts: what the sentence has to name, if there is one.
    """
    began = time.monotonic()
    TALLY.tried += 1
    try:
        with _limits():
            reader()
    except SENTENCES as error:
        TALLY.refused += 1
        sentence = str(error)
        assert sentence.strip(), "an empty sentence"
        for part in parts:
            assert str(part) in sentence, (part, sentence)
        return sentence
    finally:
        TALLY.seconds += time.monotonic() - began
    return None


@contextmanager
def _limits() -> Iterator[None]:
    """Memory and time bounds: more of either ends in MemoryError or TimeoutError, which no reader may raise."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _too_long(*_: object) -> None:
    raise TimeoutError(f"reading took more than {SECONDS} seconds")
