"""Exit handling of the command line: an error becomes one sentence on stderr and an exit code."""

import errno
import os
import sys
from collections.abc import Sequence

import typer

from vosforge.errors import InputError, VOSForgeError, first_line
from vosforge.files import at_home
from vosforge.processes import TERMINATED, end_on_sigterm
from vosforge.trouble import MISPLACED, trouble

FAILED, INTERRUPTED = 1, 130
STOPPED = {INTERRUPTED: "interrupted", TERMINATED: "terminated"}
REMEDIES = {
    errno.ENOSPC: "free some space, or choose another path",
    errno.EDQUOT: "free some space, or choose another path",
    errno.EROFS: "choose a writable path",
    errno.EACCES: "change its permissions, or choose another path",
    errno.EPERM: "change its permissions, or choose another path",
    errno.ENAMETOOLONG: "shorten it",
}


def run_command(app: typer.Typer, argv: Sequence[str]) -> None:
    """Run the command in ``argv`` and end the process: 0, 1 (failed), 2 (wrong usage), 3 (videos quarantined), 130
    (Ctrl-C) or 143 (SIGTERM).

    A word or option value that begins with ~ is expanded to a home path, as a shell does at the start of a word.
    """
    end_on_sigterm()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # names of files may be any bytes
    try:
        code = app([_with_home(word) for word in argv or ["--help"]], prog_name="vosforge", standalone_mode=False) or 0
        sys.stdout.flush()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else FAILED * (end.code is not None)
    except VOSForgeError as error:
        code = _complain(str(error), error.exit_code)
    except typer.TyperException as error:
        code = _complain(_usage(error), error.exit_code)
    except MemoryError as error:
        code = _complain(f"out of memory ({first_line(error)}): use smaller frames or fewer workers", FAILED)
    except OSError as error:
        code = _complain(_sentence(error), InputError.exit_code if isinstance(error, MISPLACED) else FAILED)
    except RuntimeError as error:  # as libraries report the system's trouble
        if (words := trouble(error)) is None:
            raise
        code = _complain(f"the machine failed ({words}): fix that and run the command again", FAILED)
    if code in STOPPED:
        _complain(f"{STOPPED[code]}; finished work is kept; run the same command to resume", code)
    _let_go_of_output()
    sys.exit(code)


def _with_home(word: str) -> str:
    option, separator, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{option}{separator}{at_home(value)}" if value.startswith("~") else word


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "vosforge"
    return f"{error.format_message().rstrip('.')}: see '{command} --help'"


def _sentence(error: OSError) -> str:
    doing = "go on" if error.filename is None else f"use {os.fsdecode(error.filename)}"
    why = os.strerror(error.errno) if error.errno else first_line(error)  # HDF5's own message is too long
    return f"cannot {doing} ({why}): {REMEDIES.get(error.errno or 0, 'check the path')}"


def _complain(sentence: str, code: int) -> int:
    print("vosforge:", " ".join(sentence.splitlines()), file=sys.stderr)
    return code


def _let_go_of_output() -> None:
    """Suppress Python's second error at exit when stdout is closed or its disk is full."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
