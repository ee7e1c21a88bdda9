"""Golden cases, what official implementations compute, run through the importer and the modules that users use.

A family of cases (`method` in case.json) has a module here, with `check(case)`: it compares what ours computes.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.verify.case import Case, read_case
from itm_harness.benchmarks.verify.report import Report

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
    """A report for each golden case in or below `folder`, in the order of their names; one case is held at a time.

    A case of a family that has no check here is not run. Raises RunError where there is no case, where none could be
    run, or where one is broken.
    """
    folders = [file.parent for file in sorted(folder.rglob("case.json"))]
    if not folders:
        raise RunError(
            f"{folder} holds no golden case (a folder with a case.json); give tests/golden or a folder in it."
        )
    reports = [verify_case(read_case(one)) for one in folders]
    if all(report.not_run for report in reports):
        raise RunError(f"{folder}: nothing was run: {reports[0].not_run}.")
    return reports


def verify_case(case: Case) -> Report:
    """The report on one case."""
    if case.family in FAMILIES:
        importlib.import_module(FAMILIES[case.family]).check(case)
    else:
        case.report.not_run = f"no check for family {case.family}, only for {', '.join(FAMILIES)}"
    return case.report
