"""Processes that are killed at chosen instants: before a certain call, or in the middle of a write.

Calls are those of functions written in C: whatever changes a disk is one of them.
"""

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

Job = Callable[[], object]


def calls(job: Job) -> int:
    """How many calls ``job`` makes, in all that it calls."""
    count = 0

    def note(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event == "c_call"

    sys.setprofile(note)
    try:
        job()
    finally:
        sys.setprofile(None)
    return count


def killed_before_call(number: int, job: Job) -> bool:
    """Do ``job`` in a child that is killed before its call ``number``; False if it has fewer."""

    def dying() -> None:
        left = number

        def note(_: Any, event: str, __: Any) -> None:
            nonlocal left
            if event == "c_call":
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(note)
        job()
        sys.setprofile(None)

    return _ends_by(signal.SIGKILL, dying)


def killed_in_a_write(size: int, job: Job) -> bool:
    """Do ``job`` in a child that is killed when a file of its would exceed ``size`` bytes; False if none does."""

    def dying() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        job()

    return _ends_by(signal.SIGXFSZ, dying)


def _ends_by(how: signal.Signals, job: Job) -> bool:
    child = multiprocessing.get_context("fork").Process(target=job)
    child.start()
    child.join()
    assert child.exitcode in (0, -how), f"the child failed with {child.exitcode}"
    return child.exitcode != 0
