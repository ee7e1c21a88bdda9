"""Golden cases, what official implementations compute, run through the importer and the modules that users use.

A family of cases (`method` in case.json) has a module here, with `check(case)`: it compares what ours computes.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.verify.case import Case, read_case
from itm_harness.benchmarks.verify.report import Report
from itm_harness.methods.spelling import nearest

FAMILIES = {
    "aahr": "itm_harness.benchmarks.verify.aahr",
    "gpo": "itm_harness.benchmarks.verify.gpo",
    "gsmn": "itm_harness.benchmarks.verify.gsmn",
    "hrem": "itm_harness.benchmarks.verify.hrem",
    "protocol": "itm_harness.benchmarks.verify.protocol",
    "text": "itm_harness.benchmarks.verify.text",
    "vsd": "itm_harness.benchmarks.verify.vsd",
    "vssr": "itm_harness.benchmarks.verify.vssr",
}


def verify(folder: Path) -> list[Report]:
    """A report for each golden case in or below `folder`, in the order of their names.

    Raises RunError where there is no case, or where one is of no known family or broken.
    """
    found = [read_case(file.parent) for file in sorted(folder.rglob("case.json"))]
    if not found:
        raise RunError(
            f"{folder} holds no golden case (a folder with a case.json); give tests/golden or a folder in it."
        )
    for case in found:
        if case.family not in FAMILIES:
            raise RunError(f"{case.folder / 'case.json'}: {_unknown(case)}.")
    return [verify_case(case) for case in found]


def verify_case(case: Case) -> Report:
    """The report on one case."""
    importlib.import_module(FAMILIES[case.family]).check(case)
    return case.report


def _unknown(case: Case) -> str:
    return (
        f"cases of '{case.family}' are not known{nearest(case.family, list(FAMILIES))}, only of {', '.join(FAMILIES)}"
    )
