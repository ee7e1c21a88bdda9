"""Methods by name, loaded when asked for; a user's own from a file."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from itm_harness.methods.description import Description
from itm_harness.methods.errors import MethodError

if TYPE_CHECKING:  # torch comes with it
    from itm_harness.methods.base import Method

RECIPES = Path(__file__).parent / "recipes"
# Methods are known by their recipes: a new one is a file here and a YAML there, and its description beside that.
SHIPPED = {path.stem: f"itm_harness.methods.{path.stem}" for path in sorted(RECIPES.glob("*.yaml"))}

_registered: dict[str, type[Method]] = {}
_described: dict[str, type[Description]] = {}
M = TypeVar("M", bound="type[Method]")
D = TypeVar("D", bound=type[Description])


@dataclass(frozen=True)
class Entry:
    """A method that can be run. description: what is known of it before it is loaded. load: loads it.

    recipe: its YAML file, None where there is none (a user's method may do without). host: the method that it is put
    on, None where it stands alone.
    """

    name: str
    description: type[Description]
    load: Callable[[], type[Method]]
    recipe: Path | None
    file: Path
    host: Entry | None = None

    @cached_property
    def method(self) -> type[Method]:
        """The method itself; with it comes torch."""
        return self.load()

    @property
    def files(self) -> tuple[Path, ...]:
        """Its source file, and its host's."""
        return (self.file, *(self.host.files if self.host else ()))


def register(name: str) -> Callable[[M], M]:
    """Class decorator: makes a Method available under `name`."""

    def add(method: M) -> M:
        method.name = name
        _registered[name] = method
        return method

    return add


def describe(name: str) -> Callable[[D], D]:
    """Class decorator: makes a Description that of the shipped method `name`."""

    def add(description: D) -> D:
        description.name = name
        _described[name] = description
        return description

    return add


def method_names() -> list[str]:
    """The shipped methods."""
    return list(SHIPPED)


def find_method(name: str, variant: str | None = None) -> Entry:
    """A shipped method by its name, or a user's: `path/to/file.py` or `path/to/file.py:ClassName`.

    A method that is put on another one (vsd) finds its host by the variant, or behind a colon: `vsd:gpo`,
    `vsd:path/to/file.py`. Raises MethodError where there is none, with the nearest name.
    """
    guest, colon, host = name.partition(":")
    if colon and guest in SHIPPED:
        return _put_on(_shipped(guest), _standing_alone(find_method(host)))
    if ".py" in name:
        return _from_file(name)
    entry = _shipped(name)
    if not hasattr(entry.description, "on"):
        return entry
    host = _shipped(entry.description.host_of(variant))
    return replace(
        entry,
        description=entry.description.on(host.description),
        load=lambda: entry.method.on(host.method),
        host=host,
    )


def _shipped(name: str) -> Entry:
    if name not in SHIPPED:
        from itm_harness.methods.spelling import nearest

        raise MethodError(
            f"unknown method '{name}'{nearest(name, list(SHIPPED))}; known: {', '.join(SHIPPED)}; "
            f"a method of your own is named by its file: --method path/to/file.py."
        )
    file = RECIPES.parent / f"{name}.py"
    return Entry(name, _description(name), partial(_load, name), RECIPES / f"{name}.yaml", file)


def _description(name: str) -> type[Description]:
    """What is known of a shipped method; where no file beside its recipe says it, the method itself does."""
    if not (RECIPES / f"{name}.py").is_file():
        return _load(name)
    importlib.import_module(f"{__package__}.recipes.{name}")
    return _described[name]


def _load(name: str) -> type[Method]:
    importlib.import_module(SHIPPED[name])
    return _registered[name]


def _put_on(guest: Entry, host: Entry) -> Entry:
    """`guest` on a host that was named by hand; the variants are those of this host alone.

    Both are loaded: that a host can be one is seen from the method itself.
    """
    if not hasattr(guest.description, "on"):
        raise MethodError(f"method {guest.name} is put on no other: --method {guest.name}, without what follows it.")
    method = guest.method.on(host.method, host.name)
    return replace(guest, description=method, load=lambda: method, host=host)


def _standing_alone(entry: Entry) -> Entry:
    if entry.host is not None:
        raise MethodError(f"method {entry.name} is put on others itself and cannot be a host; name another method.")
    return entry


def _from_file(name: str) -> Entry:
    path_text, _, class_name = name.partition(".py")
    path, class_name = Path(f"{path_text}.py"), class_name.removeprefix(":")
    if not path.is_file():
        raise MethodError(f"method file {path} does not exist; give the path of a Python file that registers a Method.")
    module_name = f"user_method_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise MethodError(f"method file {path} cannot be imported: {type(error).__name__}: {error}.") from error
    found = {n: m for n, m in _registered.items() if m.__module__ == module_name}
    if class_name:
        found = {n: m for n, m in found.items() if m.__name__ == class_name}
    if taken := set(found) & set(SHIPPED):
        raise MethodError(f"method file {path} registers '{min(taken)}', a shipped method's name; give it another.")
    if len(found) != 1:
        what = f"no registered class {class_name}" if class_name else f"{len(found)} registered methods"
        raise MethodError(
            f"method file {path} holds {what}; decorate one with @register or name it as {path}:ClassName."
        )
    ((registered, method),) = found.items()
    recipe = path.with_suffix(".yaml")
    return Entry(registered, method, lambda: method, recipe if recipe.exists() else None, path)
