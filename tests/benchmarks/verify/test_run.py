"""verify: golden cases pass, a wrong number, a missing check and a broken case do not."""

import json
import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol import eccv
from itm_harness.benchmarks.verify import run
from itm_harness.benchmarks.verify.case import Case, difference, read_case, worst
from itm_harness.benchmarks.verify.run import verify, verify_case
from itm_tests.places import GOLDEN

FOLDED = GOLDEN / "protocol" / "fold5-ensemble"


@pytest.mark.parametrize("family", ["gpo", "protocol", "text"])
def test_every_array_of_the_golden_cases_is_reproduced(family):
    reports = verify(GOLDEN / family)
    assert [r.case for r in reports] == [f"{family}/{p.name}" for p in sorted((GOLDEN / family).iterdir())]
    for report in reports:
        assert report.failed == []
        assert report.unchecked == []
        assert report.not_run is None
        assert report.passed


def failures_with(case_name: str, array: str, place: int, change: float) -> list[str]:
    """What fails when one element of one expected array is changed."""
    case = read_case(GOLDEN / case_name)
    expected = case.expected[array].copy()
    expected.flat[place] += expected.dtype.type(change)
    return verify_case(replace(case, expected={**case.expected, array: expected})).failed


@pytest.mark.parametrize("case", ["gpo/bert-regions", "gpo/bigru-regions"])
@pytest.mark.parametrize(
    "array", ["encode/txt_pool_weights", "loss_max/cost_im", "after/train_img_emb", "after/delta_norm", "steps/lr"]
)
def test_a_model_that_computes_another_number_fails(case, array):
    tolerance = float(read_case(GOLDEN / case).tolerance(array))
    assert failures_with(case, array, -1, 2 * tolerance) == [array]


@pytest.mark.parametrize(
    ("case", "array", "change"),
    [
        ("gpo/pooling", "a/grad/linear.weight", 1e-3),
        ("protocol/fold5-ensemble", "ensemble/fold5_rows", 0.5),
        ("protocol/ranks", "random_20x100/t2i", 1e-3),
        ("text/scan-tokens", "ids", 1),
    ],
)
def test_another_number_of_an_operator_fails(case, array, change):
    assert failures_with(case, array, 3, change) == [array]


def test_gradient_norms_are_compared_relatively_and_a_gradient_that_is_missing_fails():
    case = read_case(GOLDEN / "gpo/bert-regions")
    names, norms = case.about["param_names"], case.expected["loss_sum/grad_norm"]
    index = names.index("img_enc.fc.weight")
    assert failures_with("gpo/bert-regions", "loss_sum/grad_norm", index, 5e-4 * norms[index]) == []
    assert failures_with("gpo/bert-regions", "loss_sum/grad_norm", index, 5e-3 * norms[index]) == ["loss_sum/grad_norm"]
    unused = names.index("img_enc.mlp.bns.1.weight")
    assert norms[unused] == -1
    assert failures_with("gpo/bert-regions", "loss_sum/grad_norm", unused, 1.0) == ["loss_sum/grad_norm"]
    noise = names.index(case.about["noise_gradient_params"][0])
    assert failures_with("gpo/bert-regions", "loss_sum/grad_norm", noise, 1.0) == []


@pytest.mark.parametrize("change", [-100, 100])
def test_a_rank_that_no_order_of_the_ties_gives_fails(change):
    array = "ties_50x250/float32_default/t2i_ranks"
    failed = failures_with("protocol/ranks", array, 0, change)
    assert array in failed


def test_a_first_item_with_a_lower_score_fails():
    case = read_case(GOLDEN / "protocol/ranks")
    worst_caption = case.inputs["ties_50x250"][0].argmin()
    top = case.expected["ties_50x250/i2t_top1"].copy()
    top[0] = worst_caption
    changed = replace(case, expected={**case.expected, "ties_50x250/i2t_top1": top})
    assert verify_case(changed).failed == ["ties_50x250/i2t_top1"]


def test_a_case_of_which_too_little_is_checked_fails():
    case = read_case(FOLDED)
    assert len(case.expected) == 12
    report = verify_case(replace(case, expected={**case.expected, "another": np.zeros(3)}))
    assert report.failed == []
    assert report.unchecked == ["another"]
    assert not report.passed
    assert "only 12 of 13 arrays checked" in report.summary()
    assert (report.case, "another", "", "", "unchecked") in report.rows()


def test_one_array_in_twenty_may_stay_unchecked():
    case = read_case(GOLDEN / "protocol/ranks")
    report = verify_case(replace(case, expected={**case.expected, "another": np.zeros(3)}))
    assert report.unchecked == ["another"]
    assert report.passed


def test_rows_say_what_failed():
    case = read_case(FOLDED)
    wrong = {**case.expected, "model_a/full_t2i": np.zeros(4)}
    report = verify_case(replace(case, expected=wrong))
    verdicts = {row[1]: row[4] for row in report.rows()}
    assert verdicts["model_a/full_t2i"] == "FAILED: shape (5,), not (4,)"
    assert verdicts["model_a/full_i2t"] == "ok"
    assert report.summary() == "protocol/fold5-ensemble: FAILED in 1 quantities (12 of 12 arrays checked)"


def test_a_case_whose_library_is_missing_is_not_run(monkeypatch):
    monkeypatch.setattr(eccv, "installed", lambda: False)
    report = verify_case(read_case(GOLDEN / "protocol/eccv-caption"))
    assert report.passed
    assert report.rows() == [("protocol/eccv-caption", "all", "", "", "not run")]
    assert "pip install -e '.[eccv]'" in report.summary()


def test_tolerances_of_single_elements_and_of_integers():
    case = read_case(FOLDED)
    expected = {"x": np.array([1.0, 2.0]), "x_atol": np.array([0.0, 0.5]), "n": np.array([3])}
    case = replace(case, expected=expected, about={**case.about, "atol": {"n": 5}})
    assert case.report.arrays == {"x", "n"}
    case.compare("x", [1.0, 2.4])
    case.compare("n", [4])
    assert [(c.quantity, c.passed) for c in case.report.checks] == [("x", True), ("n", False)]
    case.compare("x", [1.1, 2.0])
    assert not case.report.checks[-1].passed


def test_differences_of_values_that_are_not_finite():
    found = np.array([np.nan, np.inf, np.nan, np.inf, -np.inf, 1.0])
    expected = np.array([np.nan, np.inf, 1.0, 1.0, np.inf, np.nan])
    assert difference(found, expected).tolist() == [0, 0, np.inf, np.inf, np.inf, np.inf]
    assert worst(np.array([0.2, 0.3]), np.array([0.1, 0.9])) == (0.2, 0.1)


@pytest.fixture
def copied(tmp_path):
    return Path(shutil.copytree(FOLDED, tmp_path / "case"))


def rewrite(folder: Path, **changes) -> None:
    about = json.loads((folder / "case.json").read_text())
    (folder / "case.json").chmod(0o644)
    (folder / "case.json").write_text(json.dumps({**about, **changes}))


def replace_file(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def pickled(path: Path) -> None:
    path.unlink()
    np.savez(path, model_a=np.array([{}], dtype=object))


BREAKS = {
    "a folder without cases": (lambda f: (f / "case.json").unlink(), "holds no golden case"),
    "no JSON": (lambda f: replace_file(f / "case.json", b"{"), "case.json cannot be read"),
    "another JSON": (lambda f: replace_file(f / "case.json", b"[]"), "names no method and case"),
    "unknown family": (
        lambda f: rewrite(f, method="protocoll"),
        "nothing was run: no check for family protocoll, only for aahr, .*protocol, text",
    ),
    "missing arrays": (lambda f: (f / "inputs.npz").unlink(), "inputs.npz does not exist"),
    "no arrays": (lambda f: replace_file(f / "expected.npz", b"nothing"), "expected.npz cannot be read"),
    "truncated": (
        lambda f: replace_file(f / "inputs.npz", (FOLDED / "inputs.npz").read_bytes()[:999]),
        "inputs.npz cannot be read",
    ),
    "pickled": (lambda f: pickled(f / "inputs.npz"), "inputs.npz cannot be read"),
    "missing setting": (lambda f: rewrite(f, config={"folds": 5}), "no 'captions_per_image'"),
    "missing key of a text": (lambda f: rewrite(f, method="text"), "no 'captions'"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_case_is_refused_in_one_sentence(name, copied):
    damage, sentence = BREAKS[name]
    (copied.chmod(0o755), [file.chmod(0o644) for file in copied.iterdir()])
    damage(copied)
    with pytest.raises(RunError, match=sentence) as error:
        verify(copied)
    assert "\n" not in str(error.value)


def test_a_missing_input_is_named():
    case = read_case(GOLDEN / "gpo/pooling")
    inputs = {name: array for name, array in case.inputs.items() if name != "b/lengths"}
    with pytest.raises(RunError, match="no array 'b/lengths'"):
        verify_case(replace(case, inputs=inputs))


def test_a_case_of_a_family_without_a_check_is_not_run(tmp_path):
    for name in ("fold5-ensemble", "ranks"):
        shutil.copytree(GOLDEN / "protocol" / name, tmp_path / name)
    rewrite(tmp_path / "ranks", method="protocl")
    known, unknown = verify(tmp_path)
    assert known.not_run is None
    assert known.passed
    assert unknown.rows() == [("protocl/ranks", "all", "", "", "not run")]
    assert unknown.summary().startswith("protocl/ranks: not run: no check for family protocl, only for aahr, gpo")


def test_one_case_is_held_at_a_time(monkeypatch):
    cases = []

    def read(folder: Path) -> Case:
        assert all(case() is None for case in cases)
        case = read_case(folder)
        cases.append(weakref.ref(case))
        return case

    monkeypatch.setattr(run, "read_case", read)
    verify(GOLDEN / "gpo")
    assert len(cases) == 3
