"""Every number that was recorded from the official VSSR, reproduced from its own checkpoint."""

from dataclasses import replace

import pytest

from itm_harness.benchmarks.verify import vssr
from itm_harness.benchmarks.verify.case import read_case
from itm_harness.benchmarks.verify.run import verify
from itm_tests.places import GOLDEN

CASES = GOLDEN / "vssr"


def test_every_recorded_array_is_reproduced():
    reports = verify(CASES)
    assert [report.case for report in reports] == ["vssr/bert", "vssr/codings", "vssr/no-entities"]
    assert [(report.unchecked, report.failed) for report in reports] == 3 * [([], [])]


@pytest.mark.parametrize(
    "array",
    [
        "enc/entities",
        "ev/score",
        "loss/supcon_image_to_entity_loss",
        "loss_sum_hinge/entity_hinge",
        "terms/specificity_grad_flat_entities",
        "train/delta_probe",
        "train_final/ent_emb",
    ],
)
def test_a_small_change_is_noticed(array):
    case = read_case(CASES / "bert")
    case = replace(case, expected={**case.expected, array: case.expected[array] * 1.01})
    vssr.check(case)
    assert case.report.failed == [array]


def test_a_changed_coding_is_noticed():
    case = read_case(CASES / "codings")
    array = "var/VSACoding/LSEPooling"
    case = replace(case, expected={**case.expected, array: case.expected[array] + 1e-3})
    vssr.check(case)
    assert case.report.failed == [array]
