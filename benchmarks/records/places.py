"""Where records lie: contributed ones in a results folder, a user's own in its folder local/, which git ignores."""

from __future__ import annotations

from pathlib import Path

LOCAL = "local"


def own_results(results_dir: Path) -> Path:
    """Where a user's own records and tables go."""
    return results_dir / LOCAL


def seen_results(results_dir: Path) -> tuple[Path, Path]:
    """The folders whose records a user sees; of one run the user's own record comes before the contributed one."""
    return own_results(results_dir), results_dir
