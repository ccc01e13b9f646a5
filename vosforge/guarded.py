"""The pool of processes for work on files: expendable, because a library may crash or hang on a damaged file.

Then that one task is reported as lost and the rest continues.
"""

import math
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from vosforge.processes import end_with_owner, interrupts_ignored

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Lost:
    """A task without a result, and the reason."""

    why: str


@dataclass
class _Worker(Generic[Task]):
    process: BaseProcess
    connection: Connection
    task: Task
    deadline: float


def guarded(
    function: Callable[[Task], Result],
    tasks: deque[Task],
    workers: int,
    patience: Callable[[Task], float] = lambda _: math.inf,
) -> Iterator[tuple[Task, Result | Lost]]:
    """Yield each finished task with the result of ``function``, or with the fate of its process.

    ``function`` and tasks must be picklable; ``tasks`` is emptied from the left, and may grow between two results.
    ``patience``: timeout of a task in seconds. The processes end with the iteration, and ignore Ctrl-C: their owner
    decides. ``function`` returns what it raises for the caller to see: an exception costs its process.
    """
    context = multiprocessing.get_context("spawn")  # HDF5 does not survive a fork
    busy: list[_Worker[Task]] = []

    def start(task: Task) -> _Worker[Task]:
        mine, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        with interrupts_ignored():
            process.start()
        theirs.close()  # or its end would not be noticed here
        hand_over(mine, task)
        return _Worker(process, mine, task, time.monotonic() + patience(task))

    def hand_over(connection: Connection, task: Task) -> None:
        with suppress(ConnectionError):  # the process is gone, which shows when its answer is waited for
            connection.send(task)

    try:
        while tasks or busy:
            while tasks and len(busy) < workers:
                busy.append(start(tasks.popleft()))
            left = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
            ready = wait([worker.connection for worker in busy], None if math.isinf(left) else left)
            now = time.monotonic()
            for worker in list(busy):
                if worker.connection not in ready and now < worker.deadline:
                    continue
                result = _receive(worker) if worker.connection in ready else Lost("times out")
                worker.deadline = float("inf")
                yield worker.task, result
                if isinstance(result, Lost) or not tasks:
                    busy.remove(worker)
                    _end(worker)
                else:
                    worker.task = tasks.popleft()
                    hand_over(worker.connection, worker.task)
                    worker.deadline = time.monotonic() + patience(worker.task)
    finally:
        for worker in busy:
            _end(worker)


def _receive(worker: _Worker[Any]) -> Any:
    try:
        return worker.connection.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        return Lost(f"crashes the process that reads it ({_ending(worker.process.exitcode or 0)})")


def _ending(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _end(worker: _Worker[Task]) -> None:
    worker.process.kill()
    worker.process.join()
    worker.connection.close()


def _serve(connection: Connection, function: Callable[[Task], Result]) -> None:
    end_with_owner()
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send(function(task))
