"""Run a study, file its numbers under results/studies/, and write STUDIES.md from what is filed there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from itm_harness.benchmarks.common.atomic import write_whole
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.formats import markdown
from itm_harness.benchmarks.leaderboard.tables import Column, Page, Section, Table
from itm_harness.benchmarks.records.code_hash import ROOT, code_hash
from itm_harness.benchmarks.records.provenance import versions
from itm_harness.benchmarks.studies.gpo_pooling import SIZES, Training, imitate_all, published_errors
from itm_harness.datasets.spec import nearest

GPO_POOLING = "gpo-pooling"
STUDIES = (GPO_POOLING,)
DECIMALS = 4
CODE = ("methods/encoders/pooling.py", "methods/encoders/gru.py", "benchmarks/studies/gpo_pooling.py")

Show = Callable[[str], None]


def run_study(name: str, results_dir: Path, show: Show, training: Training | None = None) -> Path:
    """Run a study by its name, file it and write `<results>/STUDIES.md`, whose path is returned.

    show: gets a line as soon as a part is done. training: None = the study's own. Raises RunError on an unknown name.
    """
    if name not in STUDIES:
        raise RunError(f"study {name}: unknown{nearest(name, list(STUDIES))}; known: {', '.join(STUDIES)}.")
    training = training or Training()
    published, errors = published_errors(), {}
    for pattern, found in imitate_all(training):
        errors[pattern] = {size: round(value, DECIMALS) for size, value in found.items()}
        show(_line(pattern, errors[pattern], published[pattern]))
    content = {
        "study": name,
        "training": asdict(training),
        "rmse": errors,
        "code_hash": _code_hash(),
        "torch": versions()["torch"],
    }
    _write(results_dir / "studies" / f"{name}.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return write_studies(results_dir)


def _line(pattern: str, errors: dict[str, float], published: dict[str, float]) -> str:
    parts = [f"{size} sizes {errors[size]:.4f} (paper {published[size]:.3f})" for size in SIZES]
    return f"{pattern}: RMSE of the coefficients at {', '.join(parts)}"


def write_studies(results_dir: Path) -> Path:
    """Write `<results>/STUDIES.md` from the filed studies; the same files give the same bytes."""
    path = results_dir / "STUDIES.md"
    _write(path, markdown(_page(_read(results_dir / "studies" / f"{GPO_POOLING}.json"))))
    return path


def _page(study: dict[str, Any]) -> Page:
    training = study["training"]
    about = [
        ("Question", "Can GPO's pooling become the poolings that people know?"),
        (
            "Training",
            f"For each pattern a fresh GPO, on {training['steps']} batches of {training['sets']} random sets of "
            f"{SIZES['seen'][0]} to {SIZES['seen'][1]} vectors (standard normal, {training['dimensions']} dimensions); "
            f"Adam, learning rate {training['lr']:g}, cosine schedule, squared error of the pooled vectors, seed "
            f"{training['seed']}. The paper gives no schedule: this one is ours.",
        ),
        (
            "Error",
            "Root mean square difference of its coefficients from the pattern's, over all ranks of all sizes: "
            + ", ".join(f"{name} {first} to {last}" for name, (first, last) in SIZES.items())
            + ".",
        ),
        ("Paper", "VSE∞, supplement, table 6."),
    ]
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
    stale = [] if study["code_hash"] == _code_hash() else ["Stale: the code has changed since this was measured."]
    table = Table("study", "GPO and five pooling patterns", columns, rows, stale)
    source = f"Made from studies/ by `itm study {study['study']}`; do not edit."
    return Page("Studies", source, about, [Section(study["study"], f"torch {study['torch']}.", [table])])


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        _ = [content["rmse"][p][s] for p in published_errors() for s in SIZES]
        return content
    except (OSError, ValueError, KeyError, TypeError) as error:
        command = f"itm study {path.stem}"
        raise RunError(f"{path} is no study's result ({error!r}); make it again with `{command}`.") from error


def _code_hash() -> str:
    return code_hash(ROOT / name for name in CODE)


def _write(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))
