"""What the README tells a reader to type is understood."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from tools.cli import app

README = (Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = re.findall(r"^    vosforge (.*?)(?:\s+#.*)?$", README, re.MULTILINE)


def test_the_readme_shows_each_command() -> None:
    assert {line.split()[0] for line in COMMANDS} >= {"render", "view", "train", "infer"}


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_of_the_readme_parse(line: str) -> None:
    name, *words = shlex.split(line)
    group = typer.main.get_command(app)
    assert name in group.commands  # type: ignore[attr-defined]
    command = group.commands[name]  # type: ignore[attr-defined]
    command.make_context(name, words)  # raises for an unknown option or a value of the wrong type


def test_the_makefile_has_what_the_readme_says() -> None:
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    targets = set(re.findall(r"^    make ([\w-]+)", README, re.MULTILINE))
    assert targets >= {"demo", "test"}
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
