"""Records as a user names them: by id, its beginning, or a path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.places import seen_results
from itm_harness.benchmarks.records.schema import Details, Record
from itm_harness.benchmarks.records.store import read_details_beside, read_record, record_files
from itm_harness.datasets.spec import nearest


@dataclass(frozen=True)
class Opened:
    """A record with its details by benchmark."""

    record: Record
    details: dict[str, Details]


def open_record(name: str, results_dir: Path) -> Opened:
    """A record by the path of its JSON, its id, or the beginning of its id, among a user's own and contributed ones.

    A beginning that fits several is that of the one with the shipped recipe. Raises RunError where there is none, where
    it is not the only one, or where it is damaged.
    """
    path = find_record(name, results_dir)
    record = read_record(path)
    return Opened(record, read_details_beside(path, record))


def open_row(name: str, results_dir: Path) -> list[Opened]:
    """The record of a name, and those that differ from it in their seed alone, by seed.

    They lie beside it where it is named by a path, else among a user's own and contributed ones; diverged and damaged
    ones are left out. Raises RunError as `open_record` does.
    """
    named = open_record(name, results_dir)
    by_path = name.endswith(".json")
    files = sorted(Path(name).parent.glob("*.json")) if by_path else record_files(*seen_results(results_dir))
    row = {named.record.id: named} | {one.record.id: one for one in _other_seeds(named.record, files)}
    return sorted(row.values(), key=lambda opened: (opened.record.seed or 0, opened.record.id))


def open_pair(
    first: str, second: str, results_dir: Path, single: bool = False
) -> tuple[list[Opened], list[Opened], list[Record] | None]:
    """Two rows, and the other records that a user sees, whose seeds tell how much seeds differ.

    The two records alone, and None, where that is asked for and where both are seeds of one row.
    """
    rows = open_row(first, results_dir), open_row(second, results_dir)
    if single or rows[0][0].record.group_key == rows[1][0].record.group_key:
        return [open_record(first, results_dir)], [open_record(second, results_dir)], None
    return *rows, _seen_records(results_dir)


def _seen_records(results_dir: Path) -> list[Record]:
    """Those that can be read; none where there is no such folder."""
    folders = [folder for folder in seen_results(results_dir) if folder.is_dir()]
    found = []
    for path in record_files(*folders) if folders else ():
        try:
            found.append(read_record(path))
        except RunError:
            continue
    return found


def _other_seeds(record: Record, files: Sequence[Path]) -> Iterator[Opened]:
    """Those of a record's row, the record itself left out. Files of other names are not opened."""
    begins = None if record.seed is None else record.id.rpartition(f"-s{record.seed}-")[0]
    for path in files:
        if begins is None or not path.stem.startswith(begins) or path.stem == record.id:
            continue
        try:
            other = read_record(path)
            if other.group_key == record.group_key and other.diverged is None:
                yield Opened(other, read_details_beside(path, other))
        except RunError:
            continue


def find_record(name: str, results_dir: Path) -> Path:
    """The JSON of a record: its path, its id, or the beginning of its id. Raises RunError where it is not one's."""
    path = Path(name) if name.endswith(".json") else _by_id(name, results_dir)
    if not path.is_file():
        raise RunError(f"record {path} does not exist; give the id of a record, or the path of its .json.")
    return path


def _by_id(name: str, results_dir: Path) -> Path:
    files = {path.stem: path for path in record_files(*seen_results(results_dir))}
    fitting = [name] if name in files else [known for known in files if known.startswith(name)]
    if not fitting:
        raise RunError(
            f"record {name} is not among those of {results_dir}{nearest(name, list(files))}; "
            f"give an id, its beginning, or the path of a .json."
        )
    return files[fitting[0]] if len(fitting) == 1 else _by_the_shipped_recipe(name, [files[known] for known in fitting])


def _by_the_shipped_recipe(name: str, fitting: list[Path]) -> Path:
    """Of several records whose ids begin alike, the one that overrides nothing of its recipe; stderr is told."""
    shipped = [path for path in fitting if not read_record(path).overrides]
    if len(shipped) != 1:
        raise RunError(f"record {name} is ambiguous: {', '.join(p.stem for p in fitting)}; write more of the id.")
    others = f"{len(fitting) - 1} other{'s' if len(fitting) > 2 else ''} with overrides"
    sentence = f"{name} is taken for {shipped[0].stem}, of the shipped recipe; it also fits {others}."
    Console(stderr=True).print(sentence, soft_wrap=True, highlight=False, markup=False)
    return shipped[0]
