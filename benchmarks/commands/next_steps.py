"""What one would do after a run, as complete commands."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from itm_harness.benchmarks.records.schema import Record
    from itm_harness.benchmarks.runs.job import RunOptions


def next_steps(records: Sequence[Record], options: RunOptions) -> list[str]:
    """Commands that look at what runs of a sweep have filed. records: one or more. options: of any of them."""
    where = [] if str(options.output) == "." else ["--results", str(options.output / "results")]
    first = records[0]
    like_first = [other for other in records[1:] if other.metrics.keys() & first.metrics.keys()]
    commands = [["show", first.id, "--query", "0", *_data(first, options), *where]]
    commands += [["compare", first.id, other.id, *where] for other in like_first[:1]]
    commands += [["leaderboard", *where]]
    return [f"itm {shlex.join(words)}" for words in commands]


def _data(record: Record, options: RunOptions) -> list[str]:
    """Where the captions of a record are, as far as `show` does not find them by itself."""
    dataset, root = record.asked("--dataset", record.dataset), options.data_root
    named = [] if dataset == record.dataset else ["--dataset", dataset]
    return named + ([] if root is None or str(root) == os.environ.get("ITM_DATA") else ["--data-root", str(root)])
