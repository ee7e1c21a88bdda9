"""The public face is typed: pyproject.toml says what mypy checks, and how strictly."""

import subprocess
import sys

import pytest

from itm_tests.places import ROOT


@pytest.fixture
def importable(tmp_path):
    """A folder in which the packages lie as they are imported: mypy does not follow setuptools' package-dir."""
    package = tmp_path / "itm_harness"
    package.mkdir()
    for path in [*(ROOT / "itm_harness").glob("*.py"), ROOT / "methods", ROOT / "datasets", ROOT / "benchmarks"]:
        (package / path.name).symlink_to(path)
    return tmp_path


def test_the_public_face_is_typed(importable):
    cache = ROOT / ".mypy_cache"  # what it knows of torch; the first time takes longest
    command = ["-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir", cache]
    done = subprocess.run([sys.executable, *command], cwd=importable, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
