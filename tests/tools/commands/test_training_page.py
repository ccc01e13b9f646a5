"""The commands of docs/training.md run, in order, on a small painted data set."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.painted import painted_dataset

PAGE = Path(__file__).parents[3] / "docs/training.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if not line.startswith("vosforge render ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page")
    painted_dataset(root / "runs/data")
    return root


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_runs(folder: Path, command: str) -> None:
    words = [sys.executable, "-m", "tools.cli", *command.split()[1:]]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_has_the_whole_way() -> None:
    assert [command.split()[1] for command in COMMANDS] == ["train", "evaluate", "evaluate", "train", "train"]
