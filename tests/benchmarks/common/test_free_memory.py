"""Limits of control groups, as Slurm and containers set them, in both versions."""

import torch

from itm_harness.benchmarks.common.free_memory import free_memory, group_limits


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_the_groups_of_version_2_and_those_above_them(tmp_path):
    write(tmp_path / "proc" / "self", cgroup="0::/slurm/job\n")
    top = tmp_path / "sys" / "fs" / "cgroup"
    write(top / "slurm" / "job", memory__max="1000\n", memory__current="400\n")
    stat = "anon 100\nactive_file 30\ninactive_file 20\n"
    write(top / "slurm", memory__max="700\n", memory__current="650\n", memory__stat=stat)
    write(top, memory__max="max\n", memory__current="9\n")
    assert group_limits(tmp_path) == [600, 100]


def test_the_groups_of_version_1(tmp_path):
    write(tmp_path / "proc" / "self", cgroup="5:devices:/\n4:memory:/job\n0::/\n")
    files = {"memory__limit_in_bytes": "5000\n", "memory__usage_in_bytes": "4000\n"}
    write(tmp_path / "sys" / "fs" / "cgroup" / "memory" / "job", **files, memory__stat="total_inactive_file 50\n")
    assert group_limits(tmp_path) == [1050]


def test_a_machine_without_groups(tmp_path):
    assert group_limits(tmp_path) == []
    assert free_memory(torch.device("cpu")) > 0
