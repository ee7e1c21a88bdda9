"""Provenance: the code hash changes with the code that counts and with nothing else."""

import os
import platform
import resource
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import provenance
from benchmarks.provenance import code_behind, code_hash, git_revision, hardware, peak_memory, versions


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Two methods, one of which hosts the other, with what they share."""
    contents = {
        "methods/base.py": "from datasets.batch import Batch\n",
        "methods/gpo.py": "import torch\nfrom methods.base import x\n",
        "methods/hrem.py": "from methods import base\n",
        "methods/vsd.py": "from methods import gpo\n",
        "methods/registry.py": "",
        "datasets/batch.py": "",
        "datasets/precomp.py": "def f():\n    from datasets.demo import ensure_demo\n",
        "datasets/demo/__init__.py": "",
        "datasets/check.py": "",
        "benchmarks/engine.py": "from datasets import precomp\nfrom benchmarks.display import y\n",
        "benchmarks/evaluate.py": "import methods.base\n",
        "benchmarks/scoring.py": "from benchmarks.protocol import evaluate_matrix\n",
        "benchmarks/protocol.py": "",
        "benchmarks/display.py": "",
        "benchmarks/leaderboard.py": "",
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def names(files: list[Path], root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in files}


def test_a_method_stands_on_its_own_file_and_on_all_that_trains_and_measures(checkout):
    shared = {"methods/base.py", "datasets/batch.py", "datasets/precomp.py"}
    shared |= {f"benchmarks/{name}.py" for name in ("engine", "evaluate", "protocol", "scoring")}
    assert names(code_behind(checkout / "methods/gpo.py", checkout), checkout) == shared | {"methods/gpo.py"}


def test_a_hosted_method_counts_too(checkout):
    found = names(code_behind(checkout / "methods/vsd.py", checkout), checkout)
    assert {"methods/vsd.py", "methods/gpo.py"} <= found
    assert "methods/hrem.py" not in found


def test_a_users_method_outside_the_checkout(checkout, tmp_path_factory):
    own = tmp_path_factory.mktemp("elsewhere") / "mine.py"
    own.write_text("from methods.gpo import GPO\n")
    found = code_behind(own, checkout)
    assert {own, checkout / "methods/gpo.py"} <= set(found)
    moved = own.rename(tmp_path_factory.mktemp("moved") / "mine.py")
    own.write_text(moved.read_text())
    assert code_hash([own], checkout) == code_hash([moved], checkout)


def test_the_hash_follows_contents_and_names_only(checkout):
    files = [checkout / "methods/gpo.py", checkout / "methods/base.py"]
    before = code_hash(files, checkout)
    assert code_hash(files[::-1], checkout) == before
    files[0].write_bytes(files[0].read_bytes().replace(b"\n", b"\r\n"))
    assert code_hash(files, checkout) == before
    files[0].write_text(files[0].read_text() + "x = 1\n")
    changed = code_hash(files, checkout)
    assert changed != before
    renamed = files[0].rename(checkout / "methods/other.py")
    assert code_hash([renamed, files[1]], checkout) != changed


def test_the_hash_sees_where_one_file_ends(tmp_path):
    a, b = tmp_path / "a.py", tmp_path / "b.py"
    a.write_text("x"), b.write_text("yz")
    before = code_hash([a, b], tmp_path)
    a.write_text("xy"), b.write_text("z")
    assert code_hash([a, b], tmp_path) != before


def test_everything_that_does_not_count_exists():
    assert all((provenance.ROOT / name).exists() for name in provenance.NOT_BEHIND_A_RUN)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_revision_and_dirty(checkout):
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
    assert platform.node() not in found.model_dump_json()


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1)])
def test_peak_memory_is_in_bytes(monkeypatch, system, unit):
    monkeypatch.setattr(provenance.sys, "platform", system)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3000))
    assert peak_memory(torch.device("cpu")).model_dump() == {"host": 3000 * unit, "device": None}
