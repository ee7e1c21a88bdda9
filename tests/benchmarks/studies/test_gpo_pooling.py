"""The data-free check of GPO: what the patterns are, how errors are averaged, and that a GPO comes near them."""

import json

import pytest
import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.studies import report
from itm_harness.benchmarks.studies.gpo_pooling import (
    LONGEST,
    PATTERNS,
    SIZES,
    Training,
    coefficient_errors,
    coefficients,
    imitate,
    published_errors,
)
from itm_harness.methods.encoders.pooling import kmax_pool, max_pool, mean_pool, sort_descending

SHORT = Training(steps=2, sets=2, dimensions=2)


def pooled(pattern, sets, lengths):
    """What a pattern makes of sets, by its table of coefficients."""
    n = sets.shape[1]
    return (sort_descending(sets, lengths) @ coefficients(pattern, n)[n - lengths][:, :, None]).squeeze(2)


def test_patterns_are_the_known_poolings():
    torch.manual_seed(0)
    sets, lengths = torch.randn(4, 30, 3), torch.tensor([30, 12, 20, 10])
    torch.testing.assert_close(pooled("average", sets, lengths), mean_pool(sets, lengths))
    torch.testing.assert_close(pooled("max", sets, lengths), max_pool(sets, lengths))
    torch.testing.assert_close(pooled("K-max (K = 10)", sets, lengths), kmax_pool(sets, lengths, 10))


def test_the_other_two_patterns():
    assert coefficients("top 50 %", 5)[0].tolist() == pytest.approx([0.5, 0.5, 0, 0, 0])
    assert coefficients("top 50 %", 5)[1].tolist() == pytest.approx([0.5, 0.5, 0, 0, 0])  # the set of four
    assert coefficients("linear decay", 4)[0].tolist() == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert coefficients("linear decay", 4)[2].tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0])  # the set of two


def test_errors_are_root_mean_squares_over_ranks_and_sizes():
    wanted = torch.zeros(LONGEST, LONGEST)
    found = wanted.clone()
    found[LONGEST - 10, 0] = 1.0  # one coefficient of the set of ten; the smaller sets have 10 + … + 19 = 145
    found[LONGEST - 120, :120] = 0.5  # all of the set of 120; the larger ones have 101 + … + 120 = 2,210
    found[LONGEST - 9] = 7.0  # smaller than all
    errors = coefficient_errors(found, wanted)
    assert errors["seen"] == 0
    assert errors["smaller"] == pytest.approx((1 / 145) ** 0.5)
    assert errors["larger"] == pytest.approx((120 * 0.25 / 2210) ** 0.5)


def test_a_trained_gpo_comes_nearer_and_the_same_each_time():
    begun, trained, again = (imitate("max", Training(steps=s, sets=4, dimensions=8)) for s in (1, 15, 15))
    assert all(trained[size] < begun[size] / 2 for size in SIZES)
    assert trained == again


def test_training_leaves_the_random_state_and_the_threads_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    imitate("average", SHORT)
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == threads


def test_the_published_table_names_the_same_patterns():
    published = published_errors()
    assert list(published) == list(PATTERNS)
    assert published["K-max (K = 10)"] == {"seen": 0.010, "smaller": 0.031, "larger": 0.007}
    assert published["linear decay"] == {"seen": 0, "smaller": 0.005, "larger": 0.001}


def test_a_damaged_published_table_is_named(tmp_path):
    (tmp_path / "table.csv").write_text("pattern,seen\naverage,0\n")
    with pytest.raises(RunError, match=r"table\.csv"):
        published_errors(tmp_path / "table.csv")


def test_the_study_is_filed_and_its_page_regenerates(tmp_path):
    lines = []
    page = report.run_study("gpo-pooling", tmp_path, lines.append, SHORT)
    text = page.read_bytes()
    filed = (tmp_path / "studies" / "gpo-pooling.json").read_bytes()
    assert [line.partition(":")[0] for line in lines] == list(PATTERNS)
    errors = json.loads(filed)["rmse"]["max"]
    assert f"{errors['seen']:.4f} (paper 0.005)" in lines[1]
    (row,) = [line for line in text.decode().splitlines() if line.startswith("| max")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["max", f"{errors['seen']:.4f}", "0.005", f"{errors['smaller']:.4f}", "0.010",
                     f"{errors['larger']:.4f}", "0.004"]  # fmt: skip
    assert "## gpo-pooling" in text.decode()
    page.unlink()
    assert report.write_studies(tmp_path).read_bytes() == text
    assert report.write_studies(tmp_path / "own", [tmp_path]).read_bytes() == text  # a user sees contributed ones
    report.run_study("gpo-pooling", tmp_path, lines.append, SHORT)
    assert (tmp_path / "studies" / "gpo-pooling.json").read_bytes() == filed


def test_an_unknown_study_and_a_damaged_file(tmp_path):
    with pytest.raises(RunError, match="did you mean 'gpo-pooling'"):
        report.run_study("gpo-poolin", tmp_path, print)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "gpo-pooling.json").write_text('{"rmse": {}}')
    with pytest.raises(RunError, match=r"gpo-pooling\.json is no study's result.*itm study gpo-pooling"):
        report.write_studies(tmp_path)
