"""How commands end: SIGTERM, readers that are gone, full and read-only places."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from tests.tools.painted import painted_dataset
from tools.exits import run_command


def vosforge(*words, **options):
    return subprocess.Popen([sys.executable, "-m", "tools.cli", *map(str, words)], stderr=subprocess.PIPE, **options)


@pytest.fixture
def sigterm():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def run_failing(error):
    def command(word: str) -> None:
        raise error

    app = typer.Typer()
    app.command()(command)
    run_command(app, ["word"])


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (PermissionError(13, "Permission denied", "/place/file"), 1, "cannot use /place/file (Permission denied)"),
        (OSError(30, "Read-only file system", "/place/file"), 1, "cannot use /place/file (Read-only file system)"),
        (OSError(28, "No space left on device", "/place/file"), 1, "cannot use /place/file (No space left on device)"),
        (OSError(36, "File name too long", "/place/file"), 1, "shorten it"),
        (NotADirectoryError(20, "Not a directory", "/place/file"), 2, "cannot use /place/file (Not a directory)"),
        (MemoryError("Unable to allocate 8 TiB"), 1, "out of memory (Unable to allocate 8 TiB)"),
        (KeyboardInterrupt(), 130, "interrupted; finished work is kept"),
        (SystemExit(143), 143, "terminated; finished work is kept"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_a_code(sigterm, capfd, error, code, says):
    with pytest.raises(SystemExit) as end:
        run_failing(error)
    assert end.value.code == code
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and says in lines[0]


def test_a_bug_keeps_its_traceback(sigterm):
    with pytest.raises(ZeroDivisionError):
        run_failing(ZeroDivisionError())


def test_sigterm_ends_a_command_with_a_sentence_and_143(tmp_path):
    process = vosforge("scenes", "sample", "--catalog", catalog(tmp_path), "--count", 10**6, "--out", tmp_path / "s")
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".writing-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert errors.decode().splitlines() == [
        "vosforge: terminated; finished work is kept; run the same command to resume"
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_reader_that_is_gone_is_no_error(tmp_path):
    reading, writing = os.pipe()
    process = vosforge("scenes", "sample", "--catalog", catalog(tmp_path), "--count", 300, stdout=writing)
    os.close(writing)
    os.read(reading, 100)
    os.close(reading)
    assert process.communicate(timeout=60)[1] == b""


def test_a_full_disk_under_the_output_is_one_sentence():
    with Path("/dev/full").open("wb") as full:
        process = vosforge("scenes", "schema", stdout=full)
        errors = process.communicate(timeout=60)[1].decode().splitlines()
    assert process.returncode == 1
    assert len(errors) == 1 and "No space left on device" in errors[0]


def catalog(root):
    painted_dataset(root / "data")
    return root / "data"
