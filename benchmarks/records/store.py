"""The result store: one JSON record per run, and beside it the ranks and top ten of every query.

`<results>/records/<id>.json` and `<id>.npz`; the id is readable and follows from the run's identity, so the same run
always has the same files. Written whole or not at all; a file of a different run is never overwritten.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import ValidationError

from itm_harness.benchmarks.common.atomic import commit, discard, stage, unwritable
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.schema import DETAIL_ARRAYS, SCHEMA_VERSION, TOP, Details, Record, RunIdentity


def record_path(record: RunIdentity, results_dir: Path) -> Path:
    """Where a record's JSON lies."""
    return results_dir / "records" / f"{record.id}.json"


def write_record(record: Record, details: Mapping[str, Details], results_dir: Path) -> Path:
    """Store a run and return the path of its JSON; the same run replaces its own older record.

    details: benchmark -> per-query results, for every benchmark of the record. A crash at any moment leaves a complete
    record or none. Raises RunError where the place is taken by a different run or cannot be written.
    """
    _require_details_of(record, details)
    path = record_path(record, results_dir)
    _refuse_other_run(path, record)
    ranks = path.with_suffix(".npz")
    arrays = {f"{name}/{array}": getattr(d, array) for name, d in details.items() for array in DETAIL_ARRAYS}
    staged_ranks = stage(ranks, lambda file: np.savez_compressed(file, **arrays))
    try:
        staged = stage(path, lambda file: _write_json(file, record))
    except RunError:
        discard(staged_ranks)
        raise
    _publish([(staged_ranks, ranks), (staged, path)])
    return path


def _publish(files: list[tuple[Path, Path]]) -> None:
    """Give staged files their names in order: all, or none. The last one is the one that readers look for."""
    *_, (_, record) = files
    try:
        record.unlink(missing_ok=True)  # an older record never stands beside newer ranks
        for staged, path in files:
            commit(staged, path)
    except (OSError, RunError) as error:
        for path in [p for pair in files for p in pair]:
            discard(path)
        raise error if isinstance(error, RunError) else unwritable(record, error) from error


def _require_details_of(record: Record, details: Mapping[str, Details]) -> None:
    sizes = {name: (m.n_images, m.n_texts) for name, m in record.metrics.items()}
    found = {name: (len(d.i2t_ranks), len(d.t2i_ranks)) for name, d in details.items()}
    if sizes != found:
        raise ValueError(f"details cover {found}, the record's metrics {sizes} (benchmark: images, texts)")


def _refuse_other_run(path: Path, record: Record) -> None:
    if path.exists() and read_record(path).identity != record.identity:
        raise RunError(
            f"{path} holds a different run and is not overwritten; move it away or give another --output folder."
        )


def _write_json(file: BinaryIO, record: Record) -> None:
    text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    file.write(f"{text}\n".encode())


def record_files(*results_dirs: Path) -> list[Path]:
    """The JSON files of results folders, by name; of one name that of the first folder that has it.

    A folder may be missing. Raises RunError where all are.
    """
    if not any(folder.is_dir() for folder in results_dirs):
        raise RunError(
            f"results folder {results_dirs[-1]} does not exist; give the folder that holds records/ (--results)."
        )
    files = {path.name: path for folder in reversed(results_dirs) for path in (folder / "records").glob("*.json")}
    return [files[name] for name in sorted(files)]


def read_records(*results_dirs: Path) -> list[Record]:
    """All records of results folders, by id. Raises RunError where all folders are missing or a record is damaged."""
    return [read_record(path) for path in record_files(*results_dirs)]


def scan_records(*results_dirs: Path) -> tuple[list[tuple[Record, dict[str, Details]]], list[str]]:
    """The records that can be read, with their details by benchmark; and a sentence for each that cannot.

    Several folders: see `record_files`. Raises RunError where all of them are missing.
    """
    problems: list[str] = []
    return [(record, details) for _, record, details in each_record(results_dirs, problems)], problems


def each_record(results_dirs: Sequence[Path], problems: list[str]) -> Iterator[tuple[Path, Record, dict[str, Details]]]:
    """Every record that can be read, with its file and details, one at a time; problems gets a sentence of each other.

    Several folders: see `record_files`. Raises RunError where all of them are missing.
    """
    for path in record_files(*results_dirs):
        try:
            record = read_record(path)
            details = read_details_beside(path, record)
        except RunError as error:
            problems.append(str(error))
            continue
        yield path, record, details


def read_record(path: Path) -> Record:
    """The record of one JSON file. Raises RunError where it is damaged, of an unknown schema, or not named by id."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}; check its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"is not valid JSON ({error})") from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise RunError(
            f"{path} has schema version {version!r}, this harness reads {SCHEMA_VERSION}; "
            f"update the harness, or move the file out of the folder."
        )
    try:
        record = Record.model_validate(content)
    except (ValidationError, RecursionError) as error:
        raise _damaged(path, _first_error(error)) from error
    if path.stem != record.id:
        raise _misnamed(path, record)
    return record


def _misnamed(path: Path, record: Record) -> RunError:
    """Another file of the same run: a copy, or one that says something else, or the only one."""
    proper = path.with_name(f"{record.id}.json")
    if not proper.exists():
        return RunError(f"{path} holds the record {record.id}; rename it and its .npz to {record.id}.")
    if proper.read_bytes() == path.read_bytes():
        return RunError(f"{path} holds the record {record.id} and is a copy of {proper.name}; remove the copy.")
    return RunError(
        f"{path} holds the record {record.id}, but says otherwise than {proper.name} about the same run; "
        f"keep the right one of them under that name."
    )


def _first_error(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "is nested too deeply"
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"])) or "the record"
    return f"is not a valid record: {key}: {first['msg']}"


def read_details(record: Record, results_dir: Path) -> dict[str, Details]:
    """Benchmark -> per-query results of a record. Raises RunError where the file is missing or does not fit."""
    return read_details_beside(record_path(record, results_dir), record)


def read_details_beside(record_file: Path, record: Record) -> dict[str, Details]:
    """`read_details` of a record that was read from `record_file`, wherever that lies."""
    path = record_file.with_suffix(".npz")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            _require_their_size(arrays.zip, record)
            details = {
                name: Details(**{array: arrays[f"{name}/{array}"] for array in DETAIL_ARRAYS})
                for name in record.metrics
            }
        _require_details_of(record, details)
    except FileNotFoundError as error:
        raise _damaged(path, "is missing") from error
    except Exception as error:  # a damaged archive, or a header in it, raises nearly anything
        raise _damaged(path, f"does not hold the ranks of {record.id} ({error})") from error
    return details


def _require_their_size(archive: zipfile.ZipFile, record: Record) -> None:
    """Raises ValueError where an archive unpacks to more than a record's ranks: a small file can fill the memory."""
    queries = sum(m.n_images + m.n_texts for m in record.metrics.values())
    headers = 4096 * len(DETAIL_ARRAYS) * len(record.metrics)
    allowed = 4 * queries * (2 + 2 * TOP) + headers  # rank, image of text, top items and their scores: 4 bytes each
    announced = sum(member.file_size for member in archive.infolist())
    if announced > allowed:
        raise ValueError(f"it unpacks to {announced:,} bytes, ranks of so many queries to {allowed:,} at most")


def _damaged(path: Path, why: str) -> RunError:
    return RunError(f"{path} {why}; restore it from version control, or remove the record and run its command again.")
