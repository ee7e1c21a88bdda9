"""Provenance: revision, versions, hardware, memory."""

import os
import platform
import resource
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from itm_harness.benchmarks.records import provenance
from itm_harness.benchmarks.records.provenance import git_revision, hardware, peak_memory, versions


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_revision_and_dirty(tmp_path):
    checkout = tmp_path / "checkout"
    (checkout / "methods").mkdir(parents=True)
    (checkout / "harness.py").write_text("")
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "first")
    assert git_revision(checkout).model_dump() == {"commit": git(checkout, "rev-parse", "HEAD"), "dirty": False}
    (checkout / "results").mkdir()
    (checkout / "results" / "new.json").write_text("{}")
    assert git_revision(checkout).dirty is False
    (checkout / "methods" / "new.py").write_text("")
    assert git_revision(checkout).dirty is True
    assert git_revision(checkout / "methods").commit == "unknown"  # a folder inside somebody else's repository


def test_revision_without_git(tmp_path, monkeypatch):
    assert git_revision(tmp_path).model_dump() == {"commit": "unknown", "dirty": None}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_revision().model_dump() == {"commit": "unknown", "dirty": None}


def test_versions_name_the_libraries():
    found = versions()
    assert set(found) == {"python", "torch", "transformers", "accelerate", "numpy", "harness"}
    assert found["numpy"] == np.__version__


def test_hardware_names_parts_and_no_host():
    found = hardware(torch.device("cpu"), processes=2)
    assert found.device == "CPU"
    assert found.processes == 2
    assert 1 <= found.cores <= os.cpu_count()
    assert found.threads == torch.get_num_threads()
    assert found.instructions == torch.backends.cpu.get_cpu_capability()
    assert platform.node() not in found.model_dump_json()


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1)])
def test_peak_memory_is_in_bytes(monkeypatch, system, unit):
    monkeypatch.setattr(provenance.sys, "platform", system)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3000))
    assert peak_memory(torch.device("cpu")).model_dump() == {"host": 3000 * unit, "device": None}
