"""The script that makes sure of system libraries, on machines made up of stand-in programs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "system_libraries.sh"
NEEDED = dict(re.findall(r"^need (\S+) (\S+)$", SCRIPT.read_text(), re.MULTILINE))


@pytest.fixture
def machine(tmp_path: Path):
    """Runs the script where only the given programs and libraries exist; `apt-get` writes down what it is asked."""
    grep = shutil.which("grep")
    assert grep

    def run(libraries, *words, user: int = 1000, programs=()) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        folder, log = tmp_path / "bin", tmp_path / "log"
        folder.mkdir()
        (folder / "grep").symlink_to(grep)
        scripts = {
            "ldconfig": "".join(f"echo '{library} => /lib/{library}'\n" for library in libraries),
            "id": f"echo {user}",
            "apt-get": f'echo "$@" >> {log}',
            "chromium": "",
        }
        for name in ("ldconfig", "id", *programs):
            (folder / name).write_text(f"#!/bin/sh\n{scripts[name]}\n")
            (folder / name).chmod(0o755)
        done = subprocess.run(
            ["/bin/sh", str(SCRIPT), *words], env={"PATH": str(folder)}, capture_output=True, text=True, check=False
        )
        return done, log.read_text().splitlines() if log.exists() else []

    return run


def test_nothing_is_done_where_everything_is_there(machine) -> None:
    done, asked = machine(NEEDED, programs=["apt-get"])
    assert (done.returncode, done.stdout, done.stderr, asked) == (0, "", "", [])


def test_root_installs_what_is_missing_and_nothing_else(machine) -> None:
    done, asked = machine([name for name in NEEDED if "libX" not in name], user=0, programs=["apt-get"])
    assert done.returncode == 0, done.stderr
    packages = [package for name, package in NEEDED.items() if "libX" in name]
    assert asked[0].startswith("update")
    assert asked[1].split()[-len(packages) :] == packages and "install" in asked[1]
    assert not set(asked[1].split()) & (set(NEEDED.values()) - set(packages))


@pytest.mark.parametrize(("user", "programs"), [(1000, ["apt-get"]), (0, [])])
def test_who_may_not_install_is_told_the_command(machine, user, programs) -> None:
    done, asked = machine([name for name in NEEDED if name != "libGL.so.1"], user=user, programs=programs)
    assert done.returncode == 1 and asked == []
    assert "sudo apt-get install libgl1\n" in done.stderr


def test_the_tests_do_without_a_browser_where_none_can_be_installed(machine) -> None:
    done, asked = machine(NEEDED, "--browser", programs=["apt-get"])
    assert done.returncode == 0 and asked == []
    assert "browser tests will be skipped" in done.stdout
