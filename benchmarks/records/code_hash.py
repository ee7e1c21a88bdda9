"""A hash of what the code behind a method's numbers means: a record whose hash is not the current one is stale.

It follows the syntax trees of the definitions, without docstrings, comments and layout, and not where they lie: a
definition that moves to another file, or a file that is cut in two, means what it meant.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

PACKAGE = "itm_harness"
ROOT = Path(__file__).resolve().parents[2]  # the folder of the three packages, in a checkout and where it is installed
SCHEME = "meaning-1:"  # before each hash; one without it, of an older record, was of the bytes
ENTRIES = ("benchmarks/training/engine.py", "benchmarks/protocol/evaluate.py", "benchmarks/protocol/scoring.py")

# Imported by the above without a say in the numbers: they show, store, find or raise. The demo data set's generator is
# not code behind a run either: what it wrote is in the record's data fingerprint.
NOT_BEHIND_A_RUN = (
    "benchmarks/common/activity.py",
    "benchmarks/common/atomic.py",
    "benchmarks/common/errors.py",
    "benchmarks/common/interrupt.py",
    "benchmarks/records/",
    "benchmarks/training/background_writer.py",
    "benchmarks/training/display.py",
    "benchmarks/training/shared_stop.py",
    "datasets/demo/",
    "datasets/errors.py",
    "methods/errors.py",
    "methods/registry.py",
)

Definition = ast.stmt


@dataclass(frozen=True)
class Tree:
    """The packages that lie in a folder. package: what comes before their names in an import."""

    root: Path = ROOT
    package: str = PACKAGE
    entries: tuple[str, ...] = ENTRIES
    not_behind: tuple[str, ...] = NOT_BEHIND_A_RUN

    def name(self, path: Path) -> str:
        """A file as it is told: below the root, else (a user's own method) its last part."""
        resolved = path.resolve()
        return resolved.relative_to(self.root).as_posix() if resolved.is_relative_to(self.root) else resolved.name

    def files_of(self, module: str) -> list[Path]:
        """Where a module of the packages may lie; nothing for a library's."""
        prefix, _, name = module.rpartition(f"{self.package}.") if self.package else ("", "", module)
        if prefix or (self.package and not module.startswith(f"{self.package}.")):
            return []
        path = self.root.joinpath(*name.split("."))
        return [found for found in (path.with_suffix(".py"), path / "__init__.py") if found.is_file()]

    def counts(self, path: Path) -> bool:
        """Does a file have a say in the numbers?"""
        return not self.name(path).startswith(self.not_behind)


def method_code_hash(method_files: Iterable[Path], tree: Tree = Tree()) -> str:
    """Hash of the code behind the numbers of a method: its file, and that of the method it is put on."""
    return code_hash({path for file in method_files for path in code_behind(file, tree)}, tree)


def code_behind(method_file: Path, tree: Tree = Tree()) -> list[Path]:
    """The source files that determine a method's numbers: its own, training, evaluation, and all that these import.

    Other methods' files do not count: a change in one must not make another's records stale.
    """
    found: set[Path] = set()
    pending = [method_file.resolve(), *(tree.root / entry for entry in tree.entries)]
    while pending:
        path = pending.pop()
        if path not in found and path.is_file() and tree.counts(path):
            found.add(path)
            pending += [file for module in _source(path).modules for file in tree.files_of(module)]
    return sorted(found)


def code_hash(files: Iterable[Path], tree: Tree = Tree()) -> str:
    """SHA-256 over what each top-level statement of some files says, and over what the names in it stand for."""
    meanings = {meaning for path in files for meaning in _meanings(path, tree)}
    return SCHEME + hashlib.sha256("\n".join(sorted(meanings)).encode()).hexdigest()


def _meanings(path: Path, tree: Tree) -> Iterator[str]:
    source = _source(path)
    for statement in source.statements:
        bound = {name: _definition(path, name, tree) for name in _names(statement)}
        stands_for = [
            f"{name}={_digest(found)}" for name, found in sorted(bound.items()) if found not in (None, statement)
        ]
        yield " ".join([_digest(statement), *stands_for])


def _definition(path: Path, name: str, tree: Tree, depth: int = 8) -> Definition | None:
    """The statement, in the file or in one that it imports from, that a name of the file stands for."""
    source = _source(path)
    if name in source.definitions:
        return source.definitions[name]
    module, original = source.imported.get(name, ("", ""))
    for file in tree.files_of(module) if depth else []:
        if tree.counts(file):
            return _definition(file, original, tree, depth - 1)
    return None


class _Source:
    """A file's syntax tree. modules: all that it imports. statements: its top level without imports and docstring."""

    def __init__(self, path: Path) -> None:
        self.tree = ast.parse(path.read_bytes())
        self.statements = [s for s in _without_docstring(self.tree.body) if not _is_import(s)]

    @cached_property
    def modules(self) -> list[str]:
        """Whatever may be a module among what it imports, also inside of functions."""
        found: list[str] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
        return found

    @cached_property
    def imported(self) -> dict[str, tuple[str, str]]:
        """Local name -> module, and the name there; also of imports inside of functions."""
        return {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }

    @cached_property
    def definitions(self) -> dict[str, Definition]:
        """Name -> the top-level statement that defines it."""
        found: dict[str, Definition] = {}
        for statement in self.statements:
            if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found[statement.name] = statement
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                found |= {node.id: statement for t in targets for node in ast.walk(t) if isinstance(node, ast.Name)}
        return found


@cache
def _source_at(path: Path, changed: int, size: int) -> _Source:
    return _Source(path)


def _source(path: Path) -> _Source:
    """A file's tree, parsed once as long as the file stays as it is."""
    status = path.stat()
    return _source_at(path, status.st_mtime_ns, status.st_size)


def _is_import(statement: ast.stmt) -> bool:
    """Also one for type checkers alone: `if TYPE_CHECKING:`."""
    if isinstance(statement, ast.If):
        return isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING"
    return isinstance(statement, ast.Import | ast.ImportFrom)


@cache
def _names(statement: Definition) -> set[str]:
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


@cache
def _digest(statement: Definition) -> str:
    return hashlib.sha256(_told(statement).encode()).hexdigest()[:32]


def _told(node: object) -> str:
    """A syntax tree in words that are the same under every Python: no places, no empty fields, no docstrings.

    Imports of a function say what they import, not from where in the project.
    """
    if isinstance(node, list):
        return f"[{','.join(_told(item) for item in node)}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if name not in ("ctx", "kind", "type_comment")}
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = _without_docstring(node.body)
    if isinstance(node, ast.ImportFrom):
        fields.pop("module")
    said = [f"{name}={_told(value)}" for name, value in fields.items() if value is not None and value != []]
    return f"{type(node).__name__}({','.join(said)})"


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return body
