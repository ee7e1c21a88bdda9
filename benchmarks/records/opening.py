"""Records as a user names them: by id, its beginning, or a path."""

from __future__ import annotations

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
