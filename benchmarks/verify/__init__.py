"""Golden cases, what official implementations compute, run through the importer and the modules that users use.

A family of cases (`method` in case.json) has a module here, with `check(case)`: it compares what ours computes.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from benchmarks.errors import RunError
from benchmarks.verify.case import Case, read_case
from benchmarks.verify.report import Report
from methods.recipe import nearest

FAMILIES = {
    "gpo": "benchmarks.verify.gpo",
    "gsmn": "benchmarks.verify.gsmn",
    "hrem": "benchmarks.verify.hrem",
    "protocol": "benchmarks.verify.protocol",
    "text": "benchmarks.verify.text",
}
TO_COME = ("aahr", "vsd", "vssr")  # recorded, but the methods are not written yet


def verify(folder: Path) -> list[Report]:
    """A report for each golden case in or below `folder`, in the order of their names.

    A case of a method that has yet to come is reported as not run. Raises RunError where there is no case, where none
    can be run, or where one is of no known family or broken.
    """
    found = [read_case(file.parent) for file in sorted(folder.rglob("case.json"))]
    if not found:
        raise RunError(
            f"{folder} holds no golden case (a folder with a case.json); give tests/golden or a folder in it."
        )
    for case in found:
        if case.family not in (*FAMILIES, *TO_COME):
            raise RunError(f"{case.folder / 'case.json'}: {_unknown(case)}.")
    if not any(case.family in FAMILIES for case in found):
        raise RunError(f"{folder}: {_unknown(found[0])}.")
    return [verify_case(case) for case in found]


def verify_case(case: Case) -> Report:
    """The report on one case."""
    if case.family in FAMILIES:
        importlib.import_module(FAMILIES[case.family]).check(case)
    else:
        case.report.not_run = f"method {case.family} is not in this version"
    return case.report


def _unknown(case: Case) -> str:
    return (
        f"cases of '{case.family}' are not known{nearest(case.family, list(FAMILIES))}, only of {', '.join(FAMILIES)}"
    )
