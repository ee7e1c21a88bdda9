"""Every number that was recorded from the official HREM, reproduced from its own checkpoint."""

from dataclasses import replace

import numpy as np
import pytest

from itm_harness.benchmarks.verify import hrem
from itm_harness.benchmarks.verify.case import read_case
from itm_tests.places import GOLDEN

CASES = GOLDEN / "hrem"


@pytest.mark.parametrize("name", ["bert-regions", "pooling", "triplet-loss"])
def test_every_recorded_array_is_reproduced(name):
    case = read_case(CASES / name)
    hrem.check(case)
    assert case.report.unchecked == []
    assert case.report.failed == []


@pytest.mark.parametrize("array", ["adj/relevance_t2i", "loss_full_coco/gnn_out", "after/train_txt_emb", "steps/gnn"])
def test_a_small_change_is_noticed(array):
    case = read_case(CASES / "bert-regions")
    case = replace(case, expected={**case.expected, array: case.expected[array] * 1.01})
    hrem.check(case)
    assert case.report.failed == [array]


def test_another_choice_of_negatives_is_noticed():
    case = read_case(CASES / "triplet-loss")
    changed = case.expected["near_a/f30k/neg1"][::-1].copy()
    case = replace(case, expected={**case.expected, "near_a/f30k/neg1": changed})
    hrem.check(case)
    assert case.report.failed == ["near_a/f30k/neg1"]
    assert np.isfinite([check.error for check in case.report.checks]).all()
