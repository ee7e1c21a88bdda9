"""Records as a user names them: by id, its beginning, or a path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.schema import Details, Record
from itm_harness.benchmarks.records.store import read_details_beside, read_record, record_files
from itm_harness.datasets.spec import nearest


@dataclass(frozen=True)
class Opened:
    """A record with its details by benchmark."""

    record: Record
    details: dict[str, Details]


def open_record(name: str, results_dir: Path) -> Opened:
    """A record by the path of its JSON, its id, or the beginning of its id.

    Raises RunError where there is none, where the beginning fits several, or where it is damaged.
    """
    path = find_record(name, results_dir)
    record = read_record(path)
    return Opened(record, read_details_beside(path, record))


def find_record(name: str, results_dir: Path) -> Path:
    """The JSON of a record: its path, its id, or the beginning of its id. Raises RunError where it is not one's."""
    path = Path(name) if name.endswith(".json") else _by_id(name, results_dir)
    if not path.is_file():
        raise RunError(f"record {path} does not exist; give the id of a record, or the path of its .json.")
    return path


def _by_id(name: str, results_dir: Path) -> Path:
    files = {path.stem: path for path in record_files(results_dir)}
    fitting = [name] if name in files else [known for known in files if known.startswith(name)]
    if len(fitting) > 1:
        raise RunError(f"record {name} is ambiguous: {', '.join(fitting)}; write more of the id.")
    if not fitting:
        raise RunError(
            f"record {name} is not in {results_dir / 'records'}{nearest(name, list(files))}; "
            f"give an id, its beginning, or the path of a .json."
        )
    return files[fitting[0]]
