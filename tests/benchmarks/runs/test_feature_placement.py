"""Where features go: as asked for, or wherever there is room; the place changes no number."""

import pytest
import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.runs import feature_placement
from itm_harness.benchmarks.runs.feature_placement import choose, place_features
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_harness.datasets.batch import Inputs
from itm_harness.datasets.precomp import open_dataset
from itm_harness.datasets.regions import HeldRegions
from itm_harness.datasets.split import open_split
from itm_tests.trees import write_f30k

GPU, CPU = torch.device("cuda"), torch.device("cpu")
GIGABYTE = 10**9


@pytest.fixture
def free(monkeypatch):
    """Free bytes by kind of device; half of them may be taken."""
    sizes = {"cuda": 20 * GIGABYTE, "cpu": 100 * GIGABYTE}
    monkeypatch.setattr(feature_placement, "free_memory", lambda device: sizes[device.type])
    return sizes


@pytest.mark.parametrize(("size", "place"), [(9, "device"), (11, "host"), (51, "map")])
def test_auto_takes_the_fastest_place_that_leaves_room(free, size, place):
    choice = choose("auto", size * GIGABYTE, GPU)
    assert choice.place == place
    assert f"{size}.00 GB" in choice.line
    assert "10.0 GB that may be used of the device" in choice.line


def test_processes_share_the_host_but_not_their_devices(free):
    assert choose("auto", 30 * GIGABYTE, GPU, processes=1).place == "host"
    assert choose("auto", 30 * GIGABYTE, GPU, processes=2).place == "map"
    assert choose("auto", 9 * GIGABYTE, GPU, processes=8).place == "device"


def test_on_a_cpu_auto_leaves_the_file_where_it_is(free):
    assert choose("auto", 1, CPU).place == "map"
    assert choose("host", GIGABYTE, CPU).place == "host"


def test_what_does_not_fit_is_refused_with_both_sizes(free):
    with pytest.raises(RunError, match=r"--features device: .*take 11.0 GB, and 10.0 GB"):
        choose("device", 11 * GIGABYTE, GPU)


def test_features_are_brought_once_and_methods_without_regions_have_none(tmp_path):
    write_f30k(tmp_path)
    dataset = open_dataset("f30k", tmp_path)
    splits = [open_split(dataset, name, Inputs()) for name in ("train", "dev")]
    assert "in host memory" in place_features(splits, "host", CPU)
    held = [split.regions for split in splits]
    assert all(isinstance(regions, HeldRegions) for regions in held)
    assert place_features(splits, "host", CPU) is None
    assert [split.regions for split in splits] == held
    assert place_features([open_split(dataset, "train", Inputs(regions=False))], "host", CPU) is None


def test_the_place_changes_no_number_of_a_run(tmp_path, accelerator, quiet):
    write_f30k(tmp_path / "data")
    sizes = {"embed_size": 8, "train.batch_size": 20, "train.epochs": 2, "text.bert": None, "text.word_dim": 8}
    records = []
    for place in ("map", "host", "device"):
        options = RunOptions("gpo", "f30k", tmp_path / "data", overrides=sizes, output=tmp_path / place, features=place)
        records += run(options, [0], accelerator, quiet)
    assert len({record.id for record in records}) == 1
    assert len({tuple(epoch.loss for epoch in record.history) for record in records}) == 1
    assert quiet.file.getvalue().count("features: ") == 3


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_features_are_rounded_under_bf16_alone_and_in_every_split(precision, dtype, tmp_path):
    write_f30k(tmp_path)
    job = Job(RunOptions("gpo", "f30k", tmp_path, precision=precision, overrides={"text.bert": None}))
    assert {job.split(name).regions.dtype for name in job.split_names} == {dtype}
