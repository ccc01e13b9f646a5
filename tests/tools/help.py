"""The tree of commands, as tests of help texts and of documentation walk it."""

from collections.abc import Iterator, Sequence
from typing import Any

import typer

from tools.cli import app


def leaf(words: Sequence[str]) -> tuple[Any, list[str]]:
    """The command that ``words`` (without the program's name) call, and the words that are left for it."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    return command, rest


def leaves(command: Any = None, name: str = "vosforge") -> Iterator[str]:
    """What to type for each command that does something, groups left out."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield name
        return
    for key, child in command.commands.items():
        yield from leaves(child, f"{name} {key}")
