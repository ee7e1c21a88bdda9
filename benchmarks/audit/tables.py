"""Generated files of a results folder: what writes each, and whether it is what the folder's records give."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from itm_harness.benchmarks.ablations.report import write_ablations
from itm_harness.benchmarks.bench.page import write_page
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.build import write_leaderboard
from itm_harness.benchmarks.leaderboard.formats import FORMATS
from itm_harness.benchmarks.leaderboard.transfer import write_transfer
from itm_harness.benchmarks.records.places import LOCAL
from itm_harness.benchmarks.report.render import missing_libraries, write_report
from itm_harness.benchmarks.studies.report import write_studies
from itm_harness.datasets.errors import DataError

REPORT = "index.html"
TABLES: dict[str, Callable[[Path], object]] = {  # a generated file -> what writes it into a results folder
    **{
        f"LEADERBOARD.{suffix}": lambda folder, name=name: write_leaderboard(folder, [name])
        for name, (suffix, _) in FORMATS.items()
    },
    "ABLATIONS.md": write_ablations,
    "TRANSFER.md": write_transfer,
    "STUDIES.md": write_studies,
    "BENCHMARKS.md": write_page,
    REPORT: write_report,
}
BY_LIBRARIES = ("charts", "pictures")  # what the page holds that Altair and Pillow wrote: other bytes in each version
VEGA = re.compile(r'<script type="text/plain" id="vega">.*?</script>', re.DOTALL)
DATA = re.compile(r'(?<=<script type="application/json" id="data">).*?(?=</script>)', re.DOTALL)


def generated_files(results_dir: Path) -> list[str]:
    """Names of the generated files that are there and can be made here: the page needs libraries of its own."""
    there = [name for name in TABLES if (results_dir / name).is_file()]
    return [name for name in there if name != REPORT or not missing_libraries()]


def rewrite_tables(results_dir: Path) -> Iterator[Path]:
    """Make the generated files that are there anew, from the folder's own records. Raises RunError or DataError."""
    for name in generated_files(results_dir):
        TABLES[name](results_dir)
        yield results_dir / name


def changed_tables(results_dir: Path) -> list[str]:
    """A sentence for each generated file that is not what the folder's records give; a user's own do not count."""
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch)
        for part in results_dir.iterdir():
            if part.is_dir() and part.name != LOCAL:
                (copy / part.name).symlink_to(part.resolve(), target_is_directory=True)
        for name in generated_files(results_dir):
            try:
                TABLES[name](copy)
                same = _content(copy / name) == _content(results_dir / name)
            except (RunError, DataError, OSError) as error:
                wrong.append(f"{results_dir / name} cannot be made anew: {error}")
                continue
            if not same:
                wrong.append(f"{results_dir / name} is not what its records give; write it anew.")
    return wrong


def _content(file: Path) -> object:
    """The bytes of a table; of the page all but what libraries wrote."""
    if file.name != REPORT:
        return file.read_bytes()
    text = VEGA.sub("", file.read_text(encoding="utf-8"))
    data = DATA.search(text)
    return DATA.sub("", text), _without_libraries(json.loads(data.group())) if data else None


def _without_libraries(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_libraries(item) for key, item in value.items() if key not in BY_LIBRARIES}
    return [_without_libraries(item) for item in value] if isinstance(value, list) else value
