"""Who may import whom: packages, rooms, files. Imports inside functions and for type checkers alone count as well."""

import ast
import itertools
from functools import cache
from pathlib import Path

import pytest

from itm_tests.places import ROOT

PACKAGES = ("methods", "datasets", "benchmarks")
ROOMS = (  # of benchmarks/: each imports only those behind it
    "commands", "audit", "report", "verify", "ablations", "studies", "leaderboard", "bench", "runs", "training",
    "preparing", "protocol", "analysis", "records", "common",
)  # fmt: skip
PARTS = ("graphs", "encoders", "losses", "parts")  # of methods/: the same


@cache
def modules() -> dict[str, Path]:
    """Every module of the three packages by its name, without itm_harness."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {_name(path): path for path in paths}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported(name: str) -> frozenset[str]:
    """The modules that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {n for n in inside if n.removeprefix("itm_harness.") in modules()} or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    ours = {n.removeprefix("itm_harness.") for n in found if n.startswith("itm_harness.")}
    assert ours <= set(modules()), f"{name} imports {ours - set(modules())}, which is nowhere"
    return frozenset(ours - {name})


def room(name: str) -> str:
    """The room of a module, or its name where it lies beside the rooms."""
    return name.split(".")[1] if "." in name else ""


@pytest.mark.parametrize("package", PACKAGES)
def test_packages(package):
    allowed = {"methods": ("methods",), "datasets": ("datasets",), "benchmarks": PACKAGES}[package]
    for name in (n for n in modules() if n.split(".")[0] == package):
        for other in imported(name):
            is_batch = package == "methods" and other == "datasets.batch"
            assert other.split(".")[0] in allowed or is_batch, f"{name} imports {other}"


@pytest.mark.parametrize(("package", "rooms"), [("benchmarks", ROOMS), ("methods", PARTS)])
def test_rooms_import_only_those_below(package, rooms):
    inside = [n for n in modules() if n.startswith(f"{package}.") and room(n) in rooms]
    for name, other in ((n, o) for n in inside for o in imported(n) if o.startswith(f"{package}.")):
        beside = room(other) not in rooms  # methods/errors.py, whatever all rooms may use
        assert beside or rooms.index(room(name)) <= rooms.index(room(other)), f"{name} imports {other}"


def test_every_file_of_benchmarks_lies_in_a_room_that_the_order_names():
    assert [p.name for p in (ROOT / "benchmarks").glob("*.py")] == ["__init__.py"]
    assert {p.name for p in (ROOT / "benchmarks").iterdir() if (p / "__init__.py").exists()} == set(ROOMS)


def test_there_are_no_circles():
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " → ".join([*above, name])
        if name not in done:
            for child in sorted(imported(name)):
                visit(child, (*above, name))
            done.add(name)

    for name in modules():
        visit(name, ())


def test_a_folder_says_what_lives_there_and_what_it_may_import():
    for path in (p for package in PACKAGES for p in (ROOT / package).rglob("__init__.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        assert len(body) == 1, f"{path} holds code"
        assert "mport" in body[0].value.value or path.parent.name == "__pycache__", f"{path}: what may it import?"


def test_no_file_bears_its_folders_name():
    assert not [p for p in modules().values() if p.stem == p.parent.name]


def test_tests_mirror_the_packages():
    """A test lies in the folder of what it tests; only a few look at the whole."""
    folders = {_name(path.parent / "__init__.py") for path in modules().values()}
    for path in itertools.chain.from_iterable((ROOT / "tests" / package).rglob("test_*.py") for package in PACKAGES):
        where = ".".join(path.parent.relative_to(ROOT / "tests").parts)
        assert where in folders, f"{path} lies in no folder of the packages"
