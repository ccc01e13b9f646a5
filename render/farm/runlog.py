"""What a run tells those who watch it: ``logs/run.jsonl``, a line an event, and ``logs/status.json``, what is live.

Both are written every `PERIOD` seconds, however many videos there are, and not synced. A log that cannot be written
does not end a run: up to `KEPT` bytes of lines wait until it can be.
"""

import json
import os
import platform
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pydantic import ValidationError

from render.farm.events import Event, Failed, Frames, Ready, Refused, Sealed
from render.farm.places import Places
from render.farm.pool import Render, Request
from vosforge.config import Record
from vosforge.errors import InputError, VOSForgeError, first_line
from vosforge.log import logger
from vosforge.videos import Place
from vosforge.videos.cache import local_copy

if TYPE_CHECKING:
    from render.farm.run import Progress

LOGS, RUN_LOG, STATUS = "logs", "run.jsonl", "status.json"
PERIOD = 5.0
"""Seconds between two writes."""
PUBLISHED = 60.0
"""Seconds after which a store gets the log as it is now, if it is longer."""
STALE = 60.0
"""Seconds after which a run that wrote nothing counts as gone."""
KEPT = 2**20
"""So many bytes of lines are kept while they cannot be written."""
HISTORY_PERIOD, HISTORY = 30.0, 60
"""Seconds between two points of a run's history, and how many of them are kept: half an hour."""


Note = Callable[[str, Mapping[str, object]], None]
"""Is told an event of the log, by its name and its facts."""


def untold(event: str, facts: Mapping[str, object]) -> None:
    """Tells nobody."""


class WorkerNow(Record):
    """A worker and the video it renders."""

    worker: int
    node: str
    """Its machine; "" until it is ready."""
    video: int | None
    attempt: int
    seconds: float | None
    """Since it was given the video."""
    silent: float | None
    """Seconds since it last told of frames."""
    memory: int
    """Bytes, its Blender process included; 0: unknown."""


class Moment(Record):
    """What a run had done so many seconds after its start."""

    seconds: float
    videos: int
    frames: int


class RunNow(Record):
    """A run as it was when it last wrote ``status.json``."""

    label: str
    """Of a run beside others, such as a part's."""
    time: datetime
    started: datetime
    host: str
    pid: int
    outcome: str | None
    """How it ended; None: it did not."""
    videos: int
    """How many were missing when it started."""
    videos_done: int
    frames_done: int
    frames_left: int
    redrawn: int
    failures: dict[str, int]
    """How often a video failed, by kind of trouble; most are tried again."""
    history: tuple[Moment, ...]
    workers: tuple[WorkerNow, ...]


@dataclass(frozen=True)
class Run:
    """A run that wrote its status."""

    now: RunNow
    silent: float
    """Seconds since then."""

    @property
    def alive(self) -> bool:
        """Whether it did not end, and said so lately."""
        return self.now.outcome is None and self.silent < STALE


def runs_at(root: Place) -> tuple[Run, ...]:
    """The runs that wrote their status at ``root``. Raises InputError where one cannot be read."""
    found = []
    for path in sorted([*(root / LOGS).glob(STATUS), *(root / LOGS).glob(labelled(STATUS, "*"))]):
        try:
            now = RunNow.model_validate_json(local_copy(path).read_text())
        except ValidationError:
            raise InputError(f"{path} is not what a run of this version writes: delete it") from None
        found.append(Run(now, max(0.0, (datetime.now(UTC) - now.time).total_seconds())))
    return tuple(found)


@dataclass
class _Seat:
    """What is known of a worker; the times are the monotonic clock's."""

    node: str = ""
    video: int | None = None
    attempt: int = 0
    given: float | None = None
    told: float | None = None
    memory: int = 0


class RunLog:
    """The log of one run over so many missing videos. A context manager, which notes how the run ended."""

    def __init__(self, places: Places, videos: int, label: str = "", on_note: Note = untold) -> None:
        """Writes nothing yet. ``label``: names the files of a run that works on a data set beside others."""
        self._on_note = on_note
        self._places, self._folder, self._videos, self._label = places, places.root / LOGS, videos, label
        self._started, self._began = _utc(), time.monotonic()
        self._progress: Progress | None = None
        self._outcome: str | None = None
        self._seats: dict[int, _Seat] = {}
        self._failures: Counter[str] = Counter()
        self._history: deque[Moment] = deque(maxlen=HISTORY)
        self._lines = bytearray()
        self._lost = 0
        self._written = self._published = 0.0
        self._troubled = False

    def __enter__(self) -> Self:
        self._write()
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        finished = self._counts()["videos_done"] == self._videos
        self._outcome = how_it_ended(error) or ("finished" if finished else "incomplete")
        told = {"error": first_line(error)} if isinstance(error, Exception) else {}
        self.note("run ended", outcome=self._outcome, **told, **self._counts(), **self._sums())
        self._seats.clear()
        self._write()

    def note(self, event: str, **facts: object) -> None:
        """Add a line."""
        self._on_note(event, facts)
        line = json.dumps({"time": _utc().isoformat(timespec="milliseconds"), "event": event, **facts})
        if len(self._lines) + len(line) > KEPT:
            self._lost += 1
        else:
            self._lines += f"{line}\n".encode()

    def begin(self, workers: int) -> None:
        """The run starts so many workers."""
        self.note("run started", host=platform.node(), pid=os.getpid(), workers=workers, videos=self._videos)

    def started(self, worker: int) -> None:
        """A worker was started."""
        self._seats[worker] = _Seat()
        self.note("worker started", worker=worker)

    def left(self, worker: int, node: str, why: str) -> None:
        """A worker is no longer used, or gone."""
        del self._seats[worker]
        self.note("worker left", worker=worker, node=node, why=why)

    def given(self, worker: int, index: int, attempt: int) -> None:
        """A worker was given a video."""
        seat = self._seats[worker]
        seat.video, seat.attempt, seat.given, seat.told = index, attempt, time.monotonic(), None

    def heard(self, worker: int, node: str, request: Request | None, event: Event) -> None:
        """A worker on a machine said something."""
        seat = self._seats[worker]
        if isinstance(event, Frames):
            seat.told, seat.memory = time.monotonic(), event.memory or seat.memory
        elif isinstance(event, Ready):
            seat.node = node
            self.note("worker ready", worker=worker, node=node)
        elif isinstance(request, Render):
            facts: dict[str, object] = {}
            if isinstance(event, Failed):
                self._failures[event.trouble] += 1
                facts = {"trouble": event.trouble, "sentence": event.sentence}
            elif isinstance(event, Refused):
                facts = {"reason": event.reason, "kind": event.kind, "modules": event.modules}
            seconds = round(time.monotonic() - (seat.given or self._began), 3)
            video = {"index": request.index, "attempt": request.attempt, "worker": worker, "node": seat.node}
            self.note(f"video {type(event).__name__.lower()}", **video, seconds=seconds, **facts)
            seat.video = seat.given = seat.told = None
        elif isinstance(event, Sealed) and event.rows:
            self.note("shard sealed", shard=event.rows[0].shard, worker=worker)

    def show(self, progress: "Progress") -> None:
        """The run got so far. Writes, unless that was less than `PERIOD` seconds ago."""
        self._progress = progress
        now = time.monotonic()
        if now - self._written >= PERIOD:
            if not self._history or now - self._began - self._history[-1].seconds >= HISTORY_PERIOD:
                self._history.append(self._moment())
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        try:
            with self._places.writing():
                self._folder.mkdir(exist_ok=True)
                log, status = (self._folder / labelled(name, self._label) for name in (RUN_LOG, STATUS))
                if not log.exists() and self._places.has(log):  # an earlier run elsewhere wrote it
                    self._places.obtain(log)
                with log.open("ab", buffering=0) as file:
                    while self._lines:  # what a full disk takes of them is taken off
                        del self._lines[: file.write(self._lines)]
                        if self._lost and not self._lines:
                            lost, self._lost = self._lost, 0
                            self.note("lines lost", count=lost)
                unfinished = status.with_name(f".{status.name}")
                unfinished.write_text(self._now().model_dump_json())
                unfinished.replace(status)
                self._places.publish(status, keep=True, check=False)
                if self._outcome is not None or self._written - self._published >= PUBLISHED:
                    self._places.publish(log, keep=True, check=False)
                    self._published = self._written
        except VOSForgeError as error:
            if not self._troubled:
                logger.warning("the run's log waits: %s", error)
            self._troubled = True
        else:
            self._troubled = False

    def _now(self) -> RunNow:
        now = time.monotonic()
        return RunNow(
            label=self._label,
            time=_utc(),
            started=self._started,
            host=platform.node(),
            pid=os.getpid(),
            outcome=self._outcome,
            **self._counts(),
            failures=self._failures,
            history=(*self._history, self._moment()),
            workers=tuple(
                WorkerNow(
                    worker=number,
                    node=seat.node,
                    video=seat.video,
                    attempt=seat.attempt,
                    seconds=None if seat.given is None else now - seat.given,
                    silent=None if seat.told is None else now - seat.told,
                    memory=seat.memory,
                )
                for number, seat in sorted(self._seats.items())
            ),
        )

    def _sums(self) -> dict[str, Mapping[str, int]]:
        """How often videos failed and were refused, by why."""
        return {"failures": self._failures, "refusals": self._progress.refusals if self._progress else {}}

    def _counts(self) -> dict[str, int]:
        done = self._progress
        return {
            "videos": self._videos,
            "videos_done": done.videos_done if done else 0,
            "frames_done": done.frames_done if done else 0,
            "frames_left": done.frames_total - done.frames_done if done else 0,
            "redrawn": done.redrawn if done else 0,
        }

    def _moment(self) -> Moment:
        counts = self._counts()
        seconds = time.monotonic() - self._began
        return Moment(seconds=seconds, videos=counts["videos_done"], frames=counts["frames_done"])


def how_it_ended(error: BaseException | None) -> str | None:
    """How a run ended that an error ended; None if none did."""
    if error is None:
        return None
    names = {KeyboardInterrupt: "interrupted", SystemExit: "terminated"}
    return next((name for kind, name in names.items() if isinstance(error, kind)), "failed")


def labelled(name: str, label: str) -> str:
    """The file's name with a label: "status-07.json"."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}-{label}{dot}{suffix}" if label else name


def _utc() -> datetime:
    return datetime.now(UTC)
