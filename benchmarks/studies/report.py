"""Run a study, file its numbers under results/studies/ where they are not in the records, and write STUDIES.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from itm_harness.benchmarks.common.atomic import write_whole
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.board import boards_of
from itm_harness.benchmarks.leaderboard.build import read_runs
from itm_harness.benchmarks.leaderboard.formats import markdown
from itm_harness.benchmarks.leaderboard.tables import Column, Page, Section, Table
from itm_harness.benchmarks.records.code_hash import ROOT, code_hash
from itm_harness.benchmarks.records.provenance import versions
from itm_harness.benchmarks.studies.gpo_pooling import SIZES, Training, imitate_all, published_errors
from itm_harness.benchmarks.studies.seeds import Chance, chance_of
from itm_harness.datasets.spec import nearest

GPO_POOLING, SEEDS = "gpo-pooling", "seeds"
STUDIES = (GPO_POOLING, SEEDS)
SOURCE = "Made from studies/ and the records by `itm study`; do not edit."
DECIMALS = 4
CODE = ("methods/encoders/pooling.py", "methods/encoders/gru.py", "benchmarks/studies/gpo_pooling.py")

SEEDS_INTRO = (
    "How much of a difference is chance? Of every row of several seeds, overrides included, each seed is set against "
    "each other one (an A/A test): a test at 5 % should find a difference in 5 of 100 such pairs. By the board's "
    "evidence, with the variance between seeds from the other rows; beside it what the choice of images alone would "
    "find. Smallest difference: by so much rsum two of these rows must differ to be told apart, median over the "
    "pairs of rows, in one test alone and in the first step of Holm's correction over the pairs of the longest track."
)
CHANCE = [
    Column("Benchmark", "benchmark", left=True), Column("Rows", "rows"), Column("Pairs", "pairs"),
    Column("Differ", "found"), Column("By images alone", "found_by_images"),
    Column("± of seeds", "deviation"), Column("Smallest difference", "smallest"),
    Column("Tests", "tests"), Column("With Holm", "smallest_holm"),
]  # fmt: skip

Show = Callable[[str], None]


def run_study(
    name: str, results_dir: Path, show: Show, training: Training | None = None, also: Sequence[Path] = ()
) -> Path:
    """Run a study by its name and write `<results>/STUDIES.md`, whose path is returned.

    show: gets a line as soon as a part is done. training: None = the study's own. also: results folders whose records
    count as well. Raises RunError on an unknown name.
    """
    if name not in STUDIES:
        raise RunError(f"study {name}: unknown{nearest(name, list(STUDIES))}; known: {', '.join(STUDIES)}.")
    if name == GPO_POOLING:
        _file_pooling(results_dir, show, training or Training())
    return write_studies(results_dir, also)


def _file_pooling(results_dir: Path, show: Show, training: Training) -> None:
    published, errors = published_errors(), {}
    for pattern, found in imitate_all(training):
        errors[pattern] = {size: round(value, DECIMALS) for size, value in found.items()}
        show(_line(pattern, errors[pattern], published[pattern]))
    content = {
        "study": GPO_POOLING,
        "training": asdict(training),
        "rmse": errors,
        "code_hash": code_hash(ROOT / name for name in CODE),
        "torch": versions()["torch"],
    }
    _write(_filed(results_dir), json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _filed(results_dir: Path) -> Path:
    return results_dir / "studies" / f"{GPO_POOLING}.json"


def _line(pattern: str, errors: dict[str, float], published: dict[str, float]) -> str:
    parts = [f"{size} sizes {errors[size]:.4f} (paper {published[size]:.3f})" for size in SIZES]
    return f"{pattern}: RMSE of the coefficients at {', '.join(parts)}"


def write_studies(results_dir: Path, also: Sequence[Path] = ()) -> Path:
    """Write `<results>/STUDIES.md` from filed studies and records; the same files give the same bytes.

    Raises RunError where a filed study is damaged.
    """
    runs, _ = read_runs(results_dir, *also)
    filed = next((_filed(folder) for folder in (results_dir, *also) if _filed(folder).is_file()), None)
    sections = [_seeds_section([chance for board in boards_of(runs) if (chance := chance_of(board))])]
    sections += [_pooling_section(_read(filed))] if filed else []
    path = results_dir / "STUDIES.md"
    _write(path, markdown(Page("Studies", SOURCE, (), sections)))
    return path


def _seeds_section(chances: Sequence[Chance]) -> Section:
    if not chances:
        return Section(SEEDS, "No benchmark has two rows of several seeds yet.", [])
    cells = [
        [c.benchmark, c.rows, c.pairs, c.found, c.found_by_images, c.deviation, c.smallest, c.tests, c.smallest_holm]
        for c in chances
    ]
    pairs, found = sum(c.pairs for c in chances), sum(c.found for c in chances)
    note = f"In all {found} of {pairs} pairs differ, {100 * found / pairs:.1f} %."
    return Section(SEEDS, SEEDS_INTRO, [Table("study", "Seeds against each other", CHANCE, cells, [note])])


def _pooling_section(study: dict[str, Any]) -> Section:
    training = study["training"]
    sizes = ", ".join(f"{name} {first} to {last}" for name, (first, last) in SIZES.items())
    intro = (
        f"Can GPO's pooling become the poolings that people know (VSE∞, supplement, table 6)? For each pattern a fresh "
        f"GPO, on {training['steps']} batches of {training['sets']} random sets of {SIZES['seen'][0]} to "
        f"{SIZES['seen'][1]} vectors (standard normal, {training['dimensions']} dimensions); Adam, learning rate "
        f"{training['lr']:g}, cosine schedule, squared error of the pooled vectors, seed {training['seed']}; torch "
        f"{study['torch']}. The paper gives no schedule: this one is ours. Error: root mean square difference of its "
        f"coefficients from the pattern's, over all ranks of all sizes: {sizes}."
    )
    published = published_errors()
    columns = [Column("Pattern", "pattern", left=True)]
    for name in SIZES:
        columns += [
            Column(f"RMSE, {name} sizes", f"rmse_{name}", decimals=DECIMALS),
            Column("paper", f"paper_{name}", decimals=3),
        ]
    rows = [
        [pattern, *(value for size in SIZES for value in (errors[size], published[pattern][size]))]
        for pattern, errors in study["rmse"].items()
    ]
    return Section(GPO_POOLING, intro, [Table("study", "GPO and five pooling patterns", columns, rows)])


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        _ = [content["rmse"][p][s] for p in published_errors() for s in SIZES]
        return content
    except (OSError, ValueError, KeyError, TypeError) as error:
        command = f"itm study {path.stem}"
        raise RunError(f"{path} is no study's result ({error!r}); make it again with `{command}`.") from error


def _write(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))
