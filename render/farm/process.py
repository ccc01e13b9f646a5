"""Client of a Blender process: sends jobs, receives events; the process never outlives its owner."""

import functools
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Self

from render.farm.events import Done, Event, Failed, Refused, Trouble, Working
from vosforge.errors import MachineError, VOSForgeError
from vosforge.processes import same_arithmetic
from vosforge.trouble import NO_MEMORY, attempting

Job = dict[str, Any]
"""What a Blender process is asked to ``do``, and with what."""

BLENDER = "render.blender.start"
"""The module that a Blender process runs."""

MISSING_ASSET = "missing asset"
"""Why a job failed where the store lacks an asset."""

FIRST_SILENCE = 900.0
"""Seconds without an event after which a process counts as hung that does something for the first time."""
MIN_SILENCE, SLOWNESS = 60.0, 5.0
"""Later it counts as hung after so many seconds, or so many times the longest that this ever took."""
SHORT = 1.0
"""Seconds of silence that nothing is asked about."""

LOG_END = 2**16
"""So many bytes of a log are looked at for its last lines."""

OWN_FAULTS = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGFPE, -signal.SIGILL}
"""Signals caused by the process itself; others come from the kernel or a user."""


class BlenderCrashError(VOSForgeError):
    """The Blender process died or hung; the next job starts a new one."""

    def __init__(self, sentence: str, code: int | None = None, starved: bool = False) -> None:
        """``code``: exit code, negative for a signal; None if it hung.

        ``starved``: whether the kernel killed a process meanwhile because memory was short.
        """
        super().__init__(sentence)
        self.code, self._starved = code, starved

    @property
    def trouble(self) -> Trouble:
        """How it ended."""
        if NO_MEMORY.search(str(self)) or (self._starved and self.code == -signal.SIGKILL):
            return "out of memory"
        if self.code is None:
            return "hang"
        return "crash" if self.code >= 0 or self.code in OWN_FAULTS else "killed"

    @property
    def lost(self) -> bool:
        """Whether the job may be innocent: the process hung, was killed, or ran out of memory."""
        return self.trouble != "crash"


class BlenderUnusableError(VOSForgeError):
    """Rendering is impossible here: Blender is missing or unsupported, or has no device."""


class BlenderProcess:
    """One Blender process, started with the first job and again after a crash.

    What Blender prints goes to ``log``. Use as a context manager, or call `close`.
    """

    def __init__(self, log: Path, threads: int = 1, device: str = "cpu", start: str = BLENDER) -> None:
        """Starts nothing yet.

        ``threads``: threads per render; ``device``: the render device; ``start``: the module the process runs, which
        gets a connection's number, threads and device as arguments.
        """
        self._log, self._threads, self._device, self._module = log, threads, device, start
        self._process: subprocess.Popen[bytes] | None = None
        self._starved_before = 0
        self._log_begin = 0
        """Where the log of the running process begins: what its predecessors said is not its own."""
        self._longest: dict[str, float] = {}
        """By what the process was doing: the most seconds between two events."""
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process id, or None if not running."""
        return self._process.pid if self._process else None

    def run(self, job: Job) -> Iterator[Event]:
        """Send a job and yield its events, the last of which is Done or Refused.

        Raises BlenderCrashError when the process dies or stays silent, BlenderUnusableError when it can do no job at
        all, MachineError when disk, memory or network are in the way, VOSForgeError for what the worker refuses.
        """
        connection = self._connection or self._start()
        with self._watched(job["do"]):
            connection.send(job)
        doing = str(job["do"])
        while True:
            event = self._receive(connection, doing)
            yield event
            if isinstance(event, Done | Refused):
                return
            doing = event.on if isinstance(event, Working) else "a frame"

    def close(self) -> None:
        """End the process now. Another thread may call this too."""
        connection, self._connection = self._connection, None
        process, self._process = self._process, None
        if connection is not None:
            connection.close()
        if process is not None:
            process.kill()
            process.wait()

    def _start(self) -> Connection:
        needed = ("bpy", "numba") if self._module == BLENDER else ()
        if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
            raise BlenderUnusableError(
                f"a Blender process needs {' and '.join(missing)}: pip install 'vosforge[render]' on Python 3.11"
            )
        with attempting(f"write to {self._log.parent}"):
            self._log.parent.mkdir(parents=True, exist_ok=True)
            log = self._log.open("ab")
            self._log_begin = log.seek(0, os.SEEK_END)
        self._starved_before = starved()
        with log, attempting("start a Blender process"):
            here, there = Pipe()
            command = [
                sys.executable,
                "-m",
                self._module,
                str(there.fileno()),
                str(self._threads),
                self._device,
            ]
            self._process = subprocess.Popen(
                command,
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | same_arithmetic(),
            )
            there.close()
        self._connection = here
        try:
            self._receive(here, "start")
        except BlenderCrashError as error:
            if error.lost:
                raise
            raise BlenderUnusableError(str(error)) from None  # no job was begun: none is to blame
        return here

    def _receive(self, connection: Connection, doing: str) -> Event:
        longest, began = self._longest.get(doing), time.monotonic()
        silence = FIRST_SILENCE if longest is None else max(MIN_SILENCE, SLOWNESS * longest)
        with self._watched(doing):
            heard = connection.poll(min(SHORT, silence))  # most events come sooner: nothing is read for them
            waited = 0.0 if heard else self._queued()
            heard = heard or connection.poll(max(0.0, silence - SHORT))
            # A machine that has too much to do is slow, not hung: what the process waited for a core does not count.
            while not heard and (late := self._queued() - waited) > 1 and time.monotonic() - began < FIRST_SILENCE:
                waited += late
                heard = connection.poll(min(late, FIRST_SILENCE))
            if not heard:
                self.close()
                raise BlenderCrashError(
                    f"Blender said nothing for {silence:.0f} s during '{doing}' and was killed; its log {self._log} "
                    f"ends: {self._tail()}"
                )
            event: Event = connection.recv()
        self._longest[doing] = max(longest or 0.0, time.monotonic() - began)
        if isinstance(event, Failed):
            if event.trouble == "unusable":
                self.close()
                raise BlenderUnusableError(event.sentence)
            if event.trouble in ("storage", MISSING_ASSET):
                raise MachineError(event.sentence, event.trouble)
            raise VOSForgeError(event.sentence)
        return event

    def _queued(self) -> float:
        """The seconds that threads of the process waited for a core: the longest wait of one; 0 where Linux is silent.

        /proc/PID/task/TID/schedstat: nanoseconds run, nanoseconds waited, slices (Linux, sched-stats).
        """
        if self._process is None:
            return 0.0
        waits = [0.0]
        for path in Path(f"/proc/{self._process.pid}/task").glob("*/schedstat"):
            with suppress(OSError, ValueError, IndexError):  # the thread ended meanwhile
                waits.append(int(path.read_text().split()[1]) / 1e9)
        return max(waits)

    @contextmanager
    def _watched(self, doing: str) -> Iterator[None]:
        """Raise BlenderCrashError, with the end of the log, when the connection is closed."""
        try:
            yield
        except (EOFError, ConnectionError):
            assert self._process is not None
            code = self._process.wait()
            self.close()
            told = f"the Blender process died (exit code {code}) during '{doing}'; its log {self._log} ends: "
            raise BlenderCrashError(told + self._tail(), code, starved() > self._starved_before) from None

    def _tail(self) -> str:
        try:
            with self._log.open("rb") as log:  # all that the process ever said may be much
                log.seek(max(self._log_begin, log.seek(0, os.SEEK_END) - LOG_END))
                return " | ".join(log.read().decode(errors="replace").strip().splitlines()[-3:])
        except OSError as error:
            return f"it cannot be read ({error.strerror})"


def starved() -> int:
    """How many processes the kernel has killed because memory was short; 0 where it does not say (Linux, vmstat)."""
    with suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


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
    assert isinstance(outcome, Done)
    cards: int = outcome.result
    return cards
