"""The package as others have it: a wheel holds what the code reads, runs from any folder, takes no library's name."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from itm_tests.places import ROOT
from itm_tests.trees import write_f30k

FOLDERS = ("itm_harness", "methods", "datasets", "benchmarks")
TINY = ("--device", "cpu", "--set", "embed_size=16", "--set", "train.batch_size=8", "--epochs", "1")
TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")

METHOD = """
from importlib.util import find_spec

from torch import nn

from itm_harness.methods.base import EmbeddingMethod, MethodConfig
from itm_harness.methods.encoders.text_encoders import text_encoder
from itm_harness.methods.registry import register

for name in ("methods", "datasets", "benchmarks"):
    print(name, "is", find_spec(name))


class Config(MethodConfig):
    embed_size: int = 16


@register("own")
class Own(EmbeddingMethod):
    Config = Config

    def __init__(self, config):
        super().__init__(config)
        self.regions = nn.Linear(config.region_dim, config.embed_size)
        self.words = text_encoder(config.text, config.embed_size)

    def embed_images(self, images):
        return self.regions(images.regions).mean(dim=1)

    def embed_texts(self, texts):
        return self.words(texts.words, texts.lengths).mean(dim=1)
"""
BESIDE_A_LIBRARY = f"""
import datasets
import transformers.trainer

assert datasets.LIBRARY
assert transformers.trainer.datasets is datasets
{METHOD}
"""


def command(*words: object, code: int = 0, **variables: str) -> str:
    """What a command prints, whose exit code must be this one."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", **variables}
    done = subprocess.run([*map(str, words)], env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """What a clone would hold once everything here is committed."""
    folder = tmp_path_factory.mktemp("clone")
    listed = command("git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", *FOLDERS)
    for name in (*listed.splitlines(), "pyproject.toml", "README.md", "LICENSE", "harness.py"):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(clone, tmp_path_factory) -> Path:
    """The wheel of the clone, built by the setuptools that is installed: a test asks no network."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ("--no-deps", "--no-index", "--no-build-isolation")
    command(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", folder, clone)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def programs(wheel, tmp_path_factory) -> Path:
    """`python` and `itm` of an environment with the wheel, whose dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    command(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    (own,) = folder.glob("lib/python*/site-packages")
    libraries = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (own / "libraries.pth").write_text("\n".join(libraries))  # a .pth file there, of an editable install, is not read
    return folder / "bin"


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> str:
    """A folder with another distribution named `datasets`."""
    folder = tmp_path_factory.mktemp("library")
    for part in ("datasets", "datasets-4.0.0.dist-info"):
        (folder / part).mkdir()
    about = "Metadata-Version: 2.1\nName: datasets\nVersion: 4.0.0\n"
    (folder / "datasets-4.0.0.dist-info" / "METADATA").write_text(about)
    (folder / "datasets" / "__init__.py").write_text("LIBRARY = True\nclass Dataset: ...\nclass IterableDataset: ...\n")
    return str(folder)


def imported_as(path: Path) -> Path:
    """Where a file or folder of the checkout, relative to it, lies in an installation."""
    return path if path.parts[0] == "itm_harness" else "itm_harness" / path


def test_every_folder_of_modules_is_a_listed_package():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [path.parent.relative_to(ROOT) for name in FOLDERS for path in (ROOT / name).rglob("__init__.py")]
    assert sorted(listed) == sorted(".".join(imported_as(folder).parts) for folder in folders)


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(clone, wheel):
    files = [path.relative_to(clone) for name in FOLDERS for path in (clone / name).rglob("*") if path.is_file()]
    shipped = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert sorted(shipped) == sorted(imported_as(path).as_posix() for path in files)


def test_an_installed_wheel_runs_from_an_empty_folder(programs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "cache"))
    where = command(programs / "python", "-c", "import itm_harness; print(itm_harness.__file__)")
    assert Path(where).is_relative_to(programs.parent)
    assert "gpo" in command(programs / "itm", "list", "methods")
    command(programs / "itm", "run", "--method", "gpo", "--dataset", "demo", "--limit", "20", *TINY)
    command(programs / "itm", "leaderboard")
    command(programs / "itm", "report")
    assert {path.name for path in tmp_path.iterdir()} == {"cache", "results", "runs"}
    made = {path.name.partition("-s0-")[0] for path in (tmp_path / "results").rglob("*.*")}
    assert {"gpo-demo", "LEADERBOARD.md", "index.html"} <= made


@pytest.mark.parametrize("place", ["an empty folder", "the checkout"])
def test_no_folder_of_ours_takes_a_name_of_its_own(programs, tmp_path, monkeypatch, place):
    (tmp_path / "own.py").write_text(METHOD)
    asked = ("recipe", "--method", tmp_path / "own.py", "--dataset", "demo")
    monkeypatch.chdir(ROOT if place == "the checkout" else tmp_path)
    said = command(*([sys.executable, "harness.py"] if place == "the checkout" else [programs / "itm"]), *asked)
    for name in ("methods", "datasets", "benchmarks"):
        (found,) = [line for line in said.splitlines() if line.startswith(f"{name} is ")]
        assert f"{ROOT / name}/" not in found
        assert "itm_harness" not in found


@pytest.mark.parametrize("place", ["a folder of theirs", "the checkout", "a process that the checkout starts"])
def test_runs_beside_another_library_named_datasets(programs, library, tmp_path, monkeypatch, place):
    """accelerate and transformers look for that library in each of two processes, and so does the user's method."""
    write_f30k(tmp_path / "data")
    (tmp_path / "own.py").write_text(BESIDE_A_LIBRARY)
    monkeypatch.chdir(tmp_path if place == "a folder of theirs" else ROOT)
    program, options, processes = {
        "a folder of theirs": ([programs / "python", *TWO, "-m", "itm_harness.benchmarks.commands"], [], 2),
        "the checkout": ([sys.executable, *TWO, "harness.py"], [], 2),
        "a process that the checkout starts": ([sys.executable, "harness.py"], ["--jobs", "1"], 1),
    }[place]
    data = ("--dataset", "f30k", "--data-root", tmp_path / "data", "--output", tmp_path / "out")
    asked = ("run", "--method", tmp_path / "own.py", *data, *TINY, "--set", "text.word_dim=16", *options)
    command(*program, *asked, PYTHONPATH=library)
    (record,) = (tmp_path / "out").rglob("own-f30k-s0-*.json")
    assert json.loads(record.read_text())["hardware"]["processes"] == processes


def test_harness_py_runs_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "gpo" in command(sys.executable, ROOT / "harness.py", "list", "methods")


def test_harness_py_runs_no_code_but_its_checkouts(clone, programs):
    """Two clones and one environment: the code of the other one must not run in silence."""
    said = command(sys.executable, clone / "harness.py", "list", "methods", code=2)
    assert said.startswith(f"harness.py: {clone} is not installed here, which has {ROOT}/itm_harness instead;")
    assert said.endswith(f"run `pip install -e {clone}`.\n")
    assert f"which has {programs.parent}" in command(programs / "python", ROOT / "harness.py", "--help", code=2)
    assert "is not installed here; run" in command(sys.executable, "-S", ROOT / "harness.py", code=2)
