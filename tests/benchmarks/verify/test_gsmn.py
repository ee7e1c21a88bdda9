"""Every number that was recorded from the official GSMN, reproduced from its own checkpoints."""

from dataclasses import replace

import numpy as np
import pytest

from itm_harness.benchmarks.verify import gsmn
from itm_harness.benchmarks.verify.case import read_case
from itm_tests.places import GOLDEN

CASES = ["dense", "sparse"]


@pytest.mark.parametrize("name", CASES)
def test_every_recorded_array_is_reproduced(name):
    case = read_case(GOLDEN / "gsmn" / name)
    gsmn.check(case)
    assert case.report.unchecked == []
    assert case.report.failed == []


@pytest.mark.parametrize("array", ["loss_max/grad_norm", "after/param_norm", "scores/visual", "debug/visual_hidden"])
def test_a_small_change_is_noticed(array):
    case = read_case(GOLDEN / "gsmn" / "sparse")
    changed = {**case.expected, array: case.expected[array] * np.float32(1.01)}
    case = replace(case, expected=changed)
    gsmn.check(case)
    assert case.report.failed == [array]


def test_the_released_fault_is_another_score():
    """Boxes of image k//5 give the recorded faulty similarities, which differ from the right ones."""
    case = read_case(GOLDEN / "gsmn" / "dense")
    difference = np.abs(case.expected["sims/sims"] - case.expected["sims/sims_bbox_not_subsampled"]).max()
    assert difference > 100 * case.tolerance("sims/sims")
    case = replace(case, inputs={**case.inputs, "gallery/bboxes": case.inputs["gallery/bboxes"][[0, 0, 0, 0]]})
    gsmn.check(case)
    assert "sims/sims" in case.report.failed
