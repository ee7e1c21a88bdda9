"""Every number that was recorded from the official AAHR, reproduced from its own checkpoint."""

from dataclasses import replace

import pytest

from itm_harness.benchmarks.verify import aahr
from itm_harness.benchmarks.verify.case import read_case
from itm_tests.places import GOLDEN

CASES = GOLDEN / "aahr" / "bert"


def test_every_recorded_array_is_reproduced():
    case = read_case(CASES)
    aahr.check(case)
    assert case.report.unchecked == []
    assert case.report.failed == []


@pytest.mark.parametrize(
    "arrays",
    [
        ("enc_padded/img_emb", "ev/sims", "loss_graph/gcn_joint", "loss_moco/moco"),
        ("loss_base/grad_probe", "swav/txt_q", "train5/total", "train_key/delta_norm", "train_final/t_queue"),
    ],
)
def test_a_small_change_is_noticed(arrays):
    case = read_case(CASES)
    changed = {name: case.expected[name] * 1.01 for name in arrays}
    case = replace(case, expected={**case.expected, **changed})
    aahr.check(case)
    assert sorted(case.report.failed) == sorted(arrays)
