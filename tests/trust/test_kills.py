"""The short version of tests/trust/kills.py."""

import re
import subprocess
import sys

from itm_tests.places import ROOT


def test_ten_kills_lose_nothing():
    """In an interpreter of its own: it forks, which one whose threads have worked must not."""
    small = ["--kills", "10", "--size", "16", "--disks", "2", "--caches", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "itm_tests.trust.kills", *small],
        cwd=ROOT / "tests" / "support",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 kills survived" in done.stdout
    assert "2 records, equal to those made alone" in done.stdout
    assert re.search(r"[12] of 2 runs stopped by .* all went on and are equal", done.stdout)
