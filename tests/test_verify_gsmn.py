"""Every number that was recorded from the official GSMN, reproduced from its own checkpoints."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.verify.gsmn import recompute

GOLDEN = Path(__file__).parent / "golden" / "gsmn"


@pytest.fixture(scope="module", params=["dense", "sparse"])
def case(request):
    """(case.json, recorded arrays, ours), without the parameters whose true gradient is zero."""
    folder = GOLDEN / request.param
    description = json.loads((folder / "case.json").read_text())
    kept = [name not in description["noise_gradient_params"] for name in description["param_names"]]
    with np.load(folder / "expected.npz", allow_pickle=False) as file:
        recorded = {name: file[name] for name in file.files}
    ours = {name: values.detach().numpy() for name, values in recompute(folder).items()}
    for arrays in (recorded, ours):
        arrays.update({name: a[kept] for name, a in arrays.items() if a.shape == (len(kept),)})
    return description, recorded, ours


def test_every_recorded_array_is_computed(case):
    _, recorded, ours = case
    assert set(recorded) <= set(ours)
    assert {n: ours[n].shape for n in recorded} == {n: a.shape for n, a in recorded.items()}


def test_every_array_is_within_its_tolerance(case):
    description, recorded, ours = case
    deviations = {name: np.abs(ours[name] - array.astype(float)).max() for name, array in recorded.items()}
    assert {n: d for n, d in deviations.items() if not d <= description["atol"].get(n, 0)} == {}


@pytest.mark.parametrize("name", ["loss_max/grad_norm", "loss_sum/grad_norm", "after/delta_norm"])
def test_gradient_norms_agree_parameter_by_parameter(case, name):
    description, recorded, ours = case
    relative = max(1e-3, 20 * description["grad_norm_relative_deviation"][name])
    np.testing.assert_allclose(ours[name], recorded[name], rtol=relative, atol=1e-6)


def test_the_released_fault_is_another_score(case):
    """Boxes of image k//5 give the recorded faulty similarities, which differ from the right ones."""
    description, recorded, ours = case
    difference = np.abs(ours["sims/sims"] - recorded["sims/sims_bbox_not_subsampled"]).max()
    assert difference > 100 * description["atol"]["sims/sims"]
