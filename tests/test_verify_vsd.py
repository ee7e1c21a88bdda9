"""Every number that was recorded from the official VSD, on both hosts, reproduced from its own checkpoints."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.verify import vsd
from benchmarks.verify.case import read_case

GOLDEN = Path(__file__).parent / "golden" / "vsd"


@pytest.mark.parametrize("name", ["gpo-bert", "hrem-bert"])
def test_every_recorded_array_is_reproduced(name):
    case = read_case(GOLDEN / name)
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
    case = read_case(GOLDEN / name)
    case = replace(case, expected={**case.expected, array: case.expected[array] * 1.01})
    vsd.check(case)
    assert case.report.failed == [array]
