"""What a command tells while something takes long."""

import io

import pytest
from rich.console import Console

from itm_harness.benchmarks.common.activity import activity


@pytest.fixture
def clock(monkeypatch):
    """Seconds, moved by hand."""
    now = [0.0]
    monkeypatch.setattr("itm_harness.benchmarks.common.activity.time.monotonic", lambda: now[0])
    return now


def test_without_a_terminal_a_line_after_a_moment_and_then_now_and_then(clock, quiet):
    with activity(quiet) as tell:
        for clock[0] in (0.0, 1.0, 3.0, 20.0, 32.0, 34.0, 50.0):
            tell(f"at {clock[0]:.0f} [s]")
    assert quiet.file.getvalue().splitlines() == ["at 3 [s]", "at 34 [s]"]


def test_on_a_terminal_one_line_that_is_gone_afterwards():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with activity(console) as tell:
        tell("looking at [1]")
        console.print("done")
    shown = console.file.getvalue()
    assert "looking at [1]" in shown
    assert shown.rstrip().endswith("\x1b[2K")
