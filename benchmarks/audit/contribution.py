"""From a user's own records to contributed ones: what a record must be, and the copy that is made of it."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from itm_harness.benchmarks.audit.data import DataAtHand
from itm_harness.benchmarks.audit.folder import current_hash, record_faults
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.board import SEEDS
from itm_harness.benchmarks.records.opening import Opened, open_record
from itm_harness.benchmarks.records.schema import Record
from itm_harness.benchmarks.records.store import read_records, write_record
from itm_harness.datasets.spec import dataset_names

SHOWN_NOWHERE = {"limited": "of a smoke run (--limit)", "nonstandard_size": "not of the benchmark's own test images"}


@dataclass(frozen=True)
class Terms:
    """What its contributor says. submitter: a name, empty where none is to be told. fewer_seeds: why there are fewer
    than three seeds of a row, empty where there are not."""

    submitter: str = ""
    fewer_seeds: str = ""


def contribute(names: Sequence[str], results_dir: Path, terms: Terms, data_root: Path | None = None) -> list[Path]:
    """Copy a user's own records into `<results>/records`; returns the paths of their JSON there.

    names: ids, their beginnings, or paths. Raises RunError with a sentence for each thing that speaks against one of
    them; then none is copied.
    """
    opened = {one.record.id: one for one in (open_record(name, results_dir) for name in names)}
    records = [one.record for one in opened.values()]
    present = read_records(results_dir) if results_dir.is_dir() else []
    few = _rows_of_few_seeds(records, present)
    against = [*_against(list(opened.values()), DataAtHand(data_root, whole=False))]
    against += [] if terms.fewer_seeds else few.values()
    if against:
        raise RunError("\n".join([*against, "nothing was copied."]))
    return [write_record(_on(terms, one.record, few), one.details, results_dir) for one in opened.values()]


def _on(terms: Terms, record: Record, few: Container[str]) -> Record:
    """The record as it is contributed. few: keys of rows with fewer than three seeds."""
    why = terms.fewer_seeds if record.group_key in few else ""
    return record.model_copy(update={"submitter": terms.submitter, "fewer_seeds": why})


def _against(opened: Sequence[Opened], data: DataAtHand) -> Iterator[str]:
    """A sentence for each thing that speaks against a record by itself."""
    for one in opened:
        faults = [*_not_to_be_shown(one.record), *record_faults(one.record, one.details, data)]
        yield from (f"{one.record.id} {fault}" for fault in faults)


def _not_to_be_shown(record: Record) -> Iterator[str]:
    for flag in SHOWN_NOWHERE.keys() & set(record.flags):
        yield f"is {SHOWN_NOWHERE[flag]}, which no table shows; run it on the whole data."
    if record.code.commit == "unknown":
        yield "was made outside of a git checkout, so that nobody can tell by which code; run it in a clone."
    elif record.code.dirty is not False:
        yield "was made by code with changes that no commit holds; commit them, then run it again with --fresh."
    if current_hash(record.method, record.variant) is None:
        yield f"is of {record.method}, which is not part of this harness; contribute the method first."
    if record.dataset not in dataset_names():
        yield f"is of {record.dataset}, which is not part of this harness; contribute its description first."


def _rows_of_few_seeds(records: Sequence[Record], present: Sequence[Record]) -> dict[str, str]:
    """Key of each row with fewer than three seeds, contributed ones counted as well -> a sentence about it."""
    few = {}
    for key in dict.fromkeys(record.group_key for record in records if record.seed is not None):
        row = {record.seed: record.id for record in [*present, *records] if record.group_key == key}
        if len(row) < SEEDS:
            few[key] = (
                f"{', '.join(row[seed] for seed in sorted(row))}: a row needs {SEEDS} seeds; run and name the others, "
                f"or say why they are missing: --fewer-seeds WHY."
            )
    return few
