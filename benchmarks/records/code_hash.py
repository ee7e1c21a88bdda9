"""A hash of what the code behind a method's numbers means: a record whose hash is not the current one is stale.

It follows the syntax trees of the definitions that a method's numbers rest on, found by the names in them, without
docstrings, comments and layout, and not where they lie: a definition that moves to another file means what it meant,
and one that nothing of a method's names does not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

PACKAGE = "itm_harness"
ROOT = Path(__file__).resolve().parents[2]  # the folder of the three packages, in a checkout and where it is installed
SCHEME = "meaning-2:"  # before each hash; one without it, of an older record, was of the bytes
ENTRIES = (  # reading, training, encoding, ranking: every statement of these
    "datasets/split.py",
    "benchmarks/training/engine.py",
    "benchmarks/protocol/evaluate.py",
    "benchmarks/protocol/scoring.py",
)

# Named by the above without a say in the numbers: they show, store, find or raise. The demo data set's generator is
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

Place = tuple[Path, ast.stmt]  # a top-level statement, and its file


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
    """Hash of the code behind the numbers of a method. method_files: its own, and that of the method it is put on."""
    return _hash(_reached(method_files, tree), tree)


def code_behind(method_files: Iterable[Path], tree: Tree = Tree()) -> list[Path]:
    """The source files of which anything counts for a method: its own, and what training and evaluation name.

    Other methods' files do not count: a change in one must not make another's records stale.
    """
    return sorted({path for path, _ in _reached(method_files, tree)})


def code_hash(files: Iterable[Path], tree: Tree = Tree()) -> str:
    """Hash of what every statement of some files says."""
    return _hash({place for path in files for place in _all(path)}, tree)


def _hash(places: set[Place], tree: Tree) -> str:
    meanings = {_meaning(path, statement, tree) for path, statement in places}
    return SCHEME + hashlib.sha256("\n".join(sorted(meanings)).encode()).hexdigest()


def _meaning(path: Path, statement: ast.stmt, tree: Tree) -> str:
    """What a statement says, and what the names in it stand for: two definitions may bear one name."""
    stand_for = {name: _meant(path, name, tree) for name in _names(statement)}
    bound = [
        f"{name}={_digest(places[0][1])}"
        for name, places in sorted(stand_for.items())
        if len(places) == 1 and places[0][1] is not statement
    ]
    return " ".join([_digest(statement), *bound])


def _reached(method_files: Iterable[Path], tree: Tree) -> set[Place]:
    """All statements of the files and of the entries, what they name, what that names, and so on."""
    found: set[Place] = set()
    files = [*(path.resolve() for path in method_files), *(tree.root / entry for entry in tree.entries)]
    pending = [place for path in files for place in _all(path)]
    while pending:
        place = pending.pop()
        if place not in found:
            found.add(place)
            path, statement = place
            pending += [other for name in _names(statement) for other in _meant(path, name, tree)]
            pending += [(path, effect) for effect in _source(path).effects]
    return found


def _all(path: Path) -> list[Place]:
    return [(path, statement) for statement in _source(path).statements]


def _meant(path: Path, name: str, tree: Tree, depth: int = 8) -> list[Place]:
    """The statement that a name of a file stands for, in the file or where it is imported from; of a module, all."""
    source = _source(path)
    if name in source.definitions:
        return [(path, source.definitions[name])]
    if name not in source.imported or not depth:
        return []
    module, original = source.imported[name]
    inside = [file for file in tree.files_of(f"{module}.{original}") if tree.counts(file)]
    if inside:
        return [place for file in inside for place in _all(file)]
    return [
        place
        for file in tree.files_of(module)
        if tree.counts(file)
        for place in _meant(file, original, tree, depth - 1)
    ]


class _Source:
    """A file's syntax tree. statements: its top level without imports and docstring."""

    def __init__(self, path: Path) -> None:
        self.tree = ast.parse(path.read_bytes())
        self.statements = [s for s in _without_docstring(self.tree.body) if not _is_import(s)]

    @cached_property
    def effects(self) -> list[ast.stmt]:
        """Statements that define nothing, but do something when the file is imported."""
        defining = {id(statement) for statement in self.definitions.values()}
        return [statement for statement in self.statements if id(statement) not in defining]

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
    def definitions(self) -> dict[str, ast.stmt]:
        """Name -> the top-level statement that defines it."""
        found: dict[str, ast.stmt] = {}
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
@cache
def _names(statement: ast.stmt) -> frozenset[str]:
    return frozenset(node.id for node in ast.walk(statement) if isinstance(node, ast.Name))


@cache
def _digest(statement: ast.stmt) -> str:
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
