"""Says at the end how much was tried."""

from __future__ import annotations

import pytest

from itm_tests.fuzz.answers import TALLY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for docs/trust.md."""
    if TALLY.tried:
        accepted = TALLY.tried - TALLY.refused
        terminalreporter.write_line(
            f"fuzzing: {TALLY.tried:,} inputs tried, {TALLY.refused:,} refused with a sentence, {accepted:,} accepted, "
            f"{TALLY.seconds:.0f} s"
        )
