"""What every command's --help says in one way: examples at its end, and the shape of a JSON document."""

from __future__ import annotations

from typing import Any

import typer


def examples(*commands: str) -> str:
    """An epilog with a command on each line, to be copied. DIR stands for a folder of the user's.

    Four blanks make them code where Markdown is made of the help; a terminal shows them without.
    """
    return "\n".join(["Examples:" if len(commands) > 1 else "Example:", "", *(f"    {line}" for line in commands)])


def json_option(shape: str) -> Any:
    """--json of a command. shape: what its document holds."""
    return typer.Option("--json", help=f"Print one JSON document alone, notes go to stderr: {shape}")
