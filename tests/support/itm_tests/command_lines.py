"""Lines that documents and help texts show, read as the command line reads them."""

from __future__ import annotations

from collections.abc import Iterator

from typer.main import get_command

from itm_harness.benchmarks.commands.app import app


def parse(words: list[str]) -> None:
    """Parse a command and its options as the command line does, without running it. Raises a usage error.

    A command that is named without options, and one with --help, need not be complete.
    """
    command, name = get_command(app), "itm"
    while words and words[0] != "--help" and hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(command.make_context(name, list(words)), words)
    if words and "--help" not in words:
        command.make_context(name, list(words))


def all_commands() -> Iterator:
    """Every command that does something itself, of groups as well."""
    pending = [get_command(app)]
    while pending:
        command = pending.pop(0)
        if hasattr(command, "commands"):
            pending += command.commands.values()
        else:
            yield command
