"""Every number that was recorded from the official VSD, on both hosts, reproduced from its own checkpoints."""

from dataclasses import replace

import pytest

from itm_harness.benchmarks.verify import vsd
from itm_harness.benchmarks.verify.case import read_case
from itm_tests.places import GOLDEN

CASES = GOLDEN / "vsd"


@pytest.mark.parametrize("name", ["gpo-bert", "hrem-bert"])
def test_every_recorded_array_is_reproduced(name):
    case = read_case(CASES / name)
    vsd.check(case)
    assert case.report.unchecked == []
    assert case.report.failed == []


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("gpo-bert", "loss_vse_sum/proto"),
        ("gpo-bert", "train_final/txt_emb"),
        ("hrem-bert", "loss_after/gnn2"),
        ("hrem-bert", "train/delta_probe"),
    ],
)
def test_a_small_change_is_noticed(name, array):
    case = read_case(CASES / name)
    case = replace(case, expected={**case.expected, array: case.expected[array] * 1.01})
    vsd.check(case)
    assert case.report.failed == [array]
