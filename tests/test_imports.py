"""The direction of imports: harness → benchmarks → methods, datasets; no circles."""

import ast
from pathlib import Path

from itm_tests.places import ROOT

PACKAGES = ("methods", "datasets", "benchmarks")


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] in (*PACKAGES, "harness")}


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def test_methods_import_nothing_of_datasets_but_the_batch_types():
    for path in modules("methods"):
        for name in imported(path):
            assert not name.startswith(("benchmarks", "harness")), f"{path} imports {name}"
            assert not name.startswith("datasets") or name.startswith("itm_harness.datasets.batch"), (
                f"{path} imports {name}"
            )


def test_datasets_import_neither_methods_nor_benchmarks():
    for path in modules("datasets"):
        for name in imported(path):
            assert not name.startswith(("methods", "benchmarks", "harness")), f"{path} imports {name}"


def test_benchmarks_do_not_import_the_command_line():
    for path in modules("benchmarks"):
        assert not any(name.startswith("harness") for name in imported(path)), path


def test_there_are_no_circles():
    """Among imports at the top of a module; one inside a function runs later and cannot deadlock."""
    names = {}
    for path in [p for package in PACKAGES for p in modules(package)]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path

    def top_level(path: Path) -> set[str]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = set()
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module:
                submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(names)
                found |= submodules or {node.module}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        return found & set(names)

    graph = {name: top_level(path) - {name} for name, path in names.items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " → ".join([*above, name])
        if name not in done:
            for child in graph[name]:
                visit(child, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())
