"""Tells machine failures (disk, memory, locks, network) from bad data.

A failed read says nothing about the content; a failed write says nothing about the data.
"""

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from vosforge.errors import InputError, MachineError, VOSForgeError
from vosforge.log import logger

Answer = TypeVar("Answer")

PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a machine is asked again; twice as many each time."""
OF_CONTENT = {errno.EINVAL, errno.EOVERFLOW, errno.ERANGE, errno.EDOM, errno.EILSEQ}
"""Errors for invalid offsets and sizes, as in a damaged file."""
OF_NAMES = {errno.ENOENT, errno.ENOTDIR}
"""Missing files: readers report them in their own words."""
MISPLACED = (FileExistsError, NotADirectoryError, IsADirectoryError)
"""Errors for a file in place of a folder, and vice versa."""
HDF5_NUMBER = re.compile(r"\berrno = (\d+)")
HDF5_PLUGIN = re.compile(r"required filter|can't dlopen|can't open directory|unable to load plugin", re.IGNORECASE)
NOT_ENOUGH = "not enough memory"
NO_MEMORY = re.compile(
    rf"MemoryError|bad_alloc|out of memory|memory allocation failed|unable to allocate|{NOT_ENOUGH}", re.IGNORECASE
)


def trouble(error: BaseException) -> str | None:
    """The machine's failure behind ``error``, in a few words; None if the content is at fault."""
    number = _number(error)
    return None if number in OF_CONTENT | OF_NAMES else _words(error, number)


def unread(what: object, error: BaseException, otherwise: VOSForgeError) -> VOSForgeError:
    """The error to raise for an unreadable ``what``: a MachineError for `trouble`, else ``otherwise``."""
    why = trouble(error)
    if why is None:
        return otherwise
    return MachineError(f"{what} cannot be read here ({why}), its content may be fine: try again later", why)


@contextmanager
def attempting(what: str) -> Iterator[None]:
    """Turn system errors during ``what`` ("write to runs/data") into one sentence.

    Raises InputError for a file in place of a folder (or vice versa), MachineError for the rest; other errors pass.
    """
    try:
        yield
    except MISPLACED as error:
        raise InputError(f"cannot {what} ({error.strerror}: {error.filename}): name another folder") from None
    except (OSError, RuntimeError, MemoryError) as error:
        why = _words(error, _number(error))
        if why is None:
            raise
        where = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
        raise MachineError(
            f"cannot {what} ({why}{where}): finished work is kept; check the disk, share or memory, then run the same "
            "command again",
            why,
        ) from error


def patiently(ask: Callable[[], Answer], seconds: float) -> Answer:
    """What ``ask`` returns, called again while it raises MachineError, for so many seconds; then that is raised."""
    until, pause, told = time.monotonic() + seconds, PAUSE, False
    while True:
        try:
            return ask()
        except MachineError as error:
            if time.monotonic() >= until:
                raise
            if not told:
                logger.warning("%s; trying again for %.0f s", error, seconds)
            told = True
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _number(error: BaseException) -> int | None:
    """The errno; HDF5 has it only in its text."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = HDF5_NUMBER.search(str(error))
    return int(found[1]) if found else None


def _words(error: BaseException, number: int | None) -> str | None:
    if number:
        return os.strerror(number)
    if isinstance(error, MemoryError) or NO_MEMORY.search(str(error)):
        return NOT_ENOUGH
    return "a filter of HDF5 cannot be loaded" if HDF5_PLUGIN.search(str(error)) else None
