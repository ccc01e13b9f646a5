"""A Blender process as its owner sees it: jobs go in, events come out, and it never outlives its owner."""

import functools
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Self

from vosforge.errors import VOSForgeError

Event = dict[str, Any]
"""What a worker says: ``{"frame": t}`` while it renders, last ``{"done": result}``, ``{"refused": reason}`` or
``{"error": sentence}``; ``{"unusable": sentence}`` when no job can be done here."""

SILENCE = 900.0
"""Seconds without an event after which a Blender process counts as hung."""


class BlenderCrashError(VOSForgeError):
    """The Blender process died or hung; the next job starts a new one."""


class BlenderUnusableError(VOSForgeError):
    """No job can be done here: Blender is missing, is not supported, or has no device to render on."""


class BlenderProcess:
    """One Blender process, started with the first job and again after a crash.

    What Blender prints goes to ``log``. Use as a context manager, or call `close`.
    """

    def __init__(self, log: Path, threads: int = 1, device: str = "cpu") -> None:
        """Nothing is started yet. ``threads``: how many cores one render may use; ``device``: what it runs on."""
        self._log, self._threads, self._device = log, threads, device
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process's id, None while there is none."""
        return self._process.pid if self._process else None

    def run(self, job: Event) -> Iterator[Event]:
        """Send a job and yield its events up to the last one.

        Raises BlenderCrashError when the process dies or stays silent, BlenderUnusableError when it can do no job at
        all, VOSForgeError for what the worker refuses.
        """
        connection = self._connection or self._start()
        connection.send(job)
        while True:
            event = self._receive(connection, job)
            if "unusable" in event:
                self.close()
                raise BlenderUnusableError(event["unusable"])
            if "error" in event:
                raise VOSForgeError(event["error"])
            yield event
            if "done" in event or "refused" in event:
                return

    def close(self) -> None:
        """End the process now."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> Connection:
        if importlib.util.find_spec("bpy") is None:
            raise BlenderUnusableError(
                "rendering needs Blender's module bpy: pip install 'vosforge[render]' on Python 3.11"
            )
        self._log.parent.mkdir(parents=True, exist_ok=True)
        here, there = Pipe()
        command = [sys.executable, "-m", "render.start", str(there.fileno()), str(self._threads), self._device]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        there.close()
        self._connection = here
        return here

    def _receive(self, connection: Connection, job: Event) -> Event:
        try:
            if not connection.poll(SILENCE):
                self.close()
                raise BlenderCrashError(f"Blender said nothing for {SILENCE:.0f} s during '{job['do']}' and was ended")
            event: Event = connection.recv()
        except (EOFError, ConnectionResetError):
            code = self._process.wait() if self._process else None
            self.close()
            tail = " | ".join(self._log.read_text(errors="replace").strip().splitlines()[-3:])
            raise BlenderCrashError(
                f"the Blender process died (exit code {code}) during '{job['do']}'; its log {self._log} ends: {tail}"
            ) from None
        return event


@functools.cache
def cards_of(device: str) -> int:
    """How many cards of the kind ``device`` Cycles can render on here: 0 for "cpu".

    Starts a Blender process once, to find out and to render a tiny frame. Raises BlenderUnusableError when Blender is
    not there, is not supported, or cannot render on that device.
    """
    with (
        tempfile.TemporaryDirectory(prefix="vosforge-device-") as folder,
        BlenderProcess(Path(folder) / "blender.log", device=device) as blender,
    ):
        *_, outcome = blender.run({"do": "prove"})
    cards: int = outcome["done"]
    return cards
