"""Commands that only look start without the libraries that compute: importing torch alone takes two seconds."""

import os
import subprocess
import sys

import numpy as np
import pytest

from itm_harness.methods.registry import method_names
from itm_tests.stores import Store, ranked_details
from itm_tests.trees import write_f30k

HEAVY = ("torch", "transformers", "accelerate", "pandas")
DRIVER = f"""
import sys
from itm_harness.benchmarks.commands.app import main
sys.argv[0] = "itm"
try:
    main()
except SystemExit as end:
    code = end.code
if code:
    sys.exit(f"it ended with {{code}}")
if loaded := [name for name in {HEAVY} if name in sys.modules]:
    sys.exit(f"it imports {{loaded}}")
"""


def start(place, *arguments):
    """Run a command in a folder and in a process of its own; fails where it ends with an error or imports too much."""
    environment = {**os.environ, "ITM_DATA": str(place / "data")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", DRIVER, *arguments], cwd=place, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A small data set, and two records that were measured on it."""
    place, n_images = tmp_path_factory.mktemp("start"), 4
    write_f30k(place / "data", images=n_images, vectors=8)
    owners = np.repeat(np.arange(n_images), 5)
    details = {"f30k-1k": ranked_details((np.arange(n_images)[:, None] == owners).astype(np.float32), owners)}
    store = Store()
    for method in ("gpo", "hrem"):
        store.add_details(details, dataset="f30k", method=method)
    store.write(place / "results")
    return place


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "--version",
        "run --help",
        "list methods",
        "list datasets",
        "list benchmarks",
        "recipe --method vsd --variant hrem-star",
        "show gpo --query 2",
        "show gpo --query 3 --direction t2i --against hrem",
        "compare gpo hrem",
        "leaderboard",
        "transfer",
    ],
)
def test_a_look_imports_nothing_that_computes(place, command):
    start(place, *command.split())


@pytest.mark.parametrize("method", method_names())
def test_a_recipe_is_resolved_without_its_method(place, method):
    start(place, "recipe", "--method", method, "--dataset", "demo")


def test_data_are_checked_without_a_method(place):
    (place / "mine.yaml").write_text(
        "extends: f30k\nname: mine\nfolder: data/f30k/precomp\nbenchmarks: [{name: mine-4}]\n"
    )
    start(place, "data", "check", "--dataset", "mine.yaml")
