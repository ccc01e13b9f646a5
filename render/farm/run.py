"""One pass over a data set's missing videos: hands them to the workers of a pool and acts on what these say.

What the pool is made of, Ray's actors or threads, is of no concern here.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import Protocol

from render.farm.devices import check_renderer
from render.farm.events import Done, Event, Failed, Frames, Outcome, Refused, Sealed
from render.farm.jobs import Dataset
from render.farm.process import BlenderUnusableError
from vosforge.errors import MachineError, VOSForgeError
from vosforge.log import logger

CRASHES_ALLOWED = 2
"""How often a video may lose its Blender process in one run."""
PATIENCE = 1.0
"""Seconds between two looks at the workers, where they say nothing."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run: counts and seconds since its start. Redrawn videos count in the frames each time.

    ``left``: videos whose process was repeatedly killed or out of memory; they stay missing.
    """

    frames_done: int
    frames_total: int
    videos_done: int
    videos_total: int
    redrawn: int
    quarantined: int
    left: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Render:
    """Asks a worker for video ``index``, which was refused ``attempt`` times."""

    index: int
    attempt: int = 0
    renderer: str | None = None
    """What the data set is rendered with so far."""
    crashes: int = 0
    """How often the video lost its process in this run."""


@dataclass(frozen=True, slots=True)
class Seal:
    """Asks a worker to seal a shard, as `render.farm.sealing.seal_shard` does."""

    shard: int
    members: range
    retried: tuple[int, ...] = ()


Request = Render | Seal


class Pool(Protocol):
    """Workers, by number. Each answers its requests one after the other."""

    def workers(self) -> Sequence[int]:
        """The workers there are at the start."""

    def submit(self, worker: int, request: Request) -> None:
        """Send a request: Render is answered by Frames and an outcome, Seal by Sealed or Failed."""

    def events(self, seconds: float) -> Iterable[tuple[int, Request, Event]]:
        """What the workers said by now; waits for the first of it, so many seconds at most."""

    def replace(self, worker: int) -> int:
        """Start a worker in place of one that is gone; returns its number."""


def render_missing(
    dataset: Dataset,
    pool_for: Callable[[int], AbstractContextManager[Pool]],
    on_progress: Callable[[Progress], None] = lambda progress: None,
    *,
    retry_quarantined: bool = False,
    any_renderer: bool = False,
) -> Progress:
    """Render every missing video of ``dataset`` and seal its shards; returns the final counts.

    A video that fails its checks is redrawn with the next attempt; one that keeps failing or crashing Blender is
    quarantined with its reason (``retry_quarantined`` retries those of earlier runs). One whose process is repeatedly
    killed stays missing. When interrupted, sealed videos stay, and the next call resumes. ``pool_for``: opens the
    workers for so many videos; ``any_renderer``: whether a video may come from another Blender or device than the
    others.
    Raises MachineError when the folder cannot be written to or the machine fails otherwise, and BlenderUnusableError
    if Blender cannot render as required, or the data set was started with another Blender or device; neither
    quarantines anything.
    """
    with dataset.writing():
        dataset.manifest()
        dataset.pack()
        if retry_quarantined:
            dataset.retry_quarantined()
        missing = dataset.missing()
        progress = Progress(0, 0, 0, 0, 0, 0, 0, 0.0)
        if missing:
            try:
                with pool_for(len(missing)) as pool:
                    progress = _Run(dataset, pool, missing, on_progress, any_renderer).work()
            except BaseException:
                with suppress(VOSForgeError):  # the first error is the one to tell of
                    dataset.manifest()
                raise
            dataset.pack()  # also what a cluster's file system showed too late
        dataset.manifest()
        return progress


class _Run:
    """The queue, the busy workers and the counts. What a video costs does not depend on how many there are."""

    def __init__(
        self,
        dataset: Dataset,
        pool: Pool,
        missing: Sequence[int],
        on_progress: Callable[[Progress], None],
        any_renderer: bool,
    ) -> None:
        self._dataset, self._pool, self._on_progress = dataset, pool, on_progress
        self._any_renderer = any_renderer
        self._renderer = None if any_renderer else dataset.renderer()
        self._idle = [*pool.workers()]
        self._queue = deque(Render(index) for index in missing)
        self._open = Counter(map(dataset.shard_of, missing))
        """How many videos each shard still waits for."""
        self._left_frames: dict[int, int] = {}
        """Of the videos being rendered: frames to come."""
        self._rendered = self._sealing = self._videos = self._redrawn = self._quarantined = self._left = 0
        self._total, self._started = len(missing), time.monotonic()

    def work(self) -> Progress:
        while True:
            while self._queue and self._idle:
                self._begin(self._idle.pop(), self._queue.popleft())
            progress = self._progress()
            self._on_progress(progress)
            if not self._left_frames and not self._sealing:
                return progress
            for worker, request, event in self._pool.events(PATIENCE):
                self._act(worker, request, event)

    def _begin(self, worker: int, request: Render) -> None:
        self._left_frames[request.index] = self._dataset.config.render.frames
        wanted = Render(request.index, request.attempt, self._renderer, request.crashes)
        self._pool.submit(worker, wanted)

    def _progress(self) -> Progress:
        waiting = len(self._queue) * self._dataset.config.render.frames + sum(self._left_frames.values())
        return Progress(
            frames_done=self._rendered,
            frames_total=self._rendered + waiting,
            videos_done=self._videos,
            videos_total=self._total,
            redrawn=self._redrawn,
            quarantined=self._quarantined,
            left=self._left,
            seconds=time.monotonic() - self._started,
        )

    def _act(self, worker: int, request: Request, event: Event) -> None:
        if isinstance(request, Seal):
            self._record(request, event)
        elif isinstance(event, Frames):
            self._rendered += event.count
            self._left_frames[request.index] -= event.count
        else:
            rest = self._left_frames.pop(request.index)
            assert isinstance(event, Outcome)
            if not isinstance(event, Failed):
                self._rendered += rest
            self._finish(worker, request, event)

    def _finish(self, worker: int, task: Render, event: Outcome) -> None:
        if isinstance(event, Failed):
            _raise_for_all(event)
            if event.trouble == "gone":
                worker = self._pool.replace(worker)
        self._idle.append(worker)
        if isinstance(event, Done):
            self._hold_to_renderer(task.index, event.renderer)
            self._settle(task.index, worker)
        elif isinstance(event, Refused) and task.attempt + 1 < self._dataset.config.attempts:
            logger.debug("video %d: %s; redrawing", task.index, event.reason)
            self._redrawn += 1
            self._queue.append(Render(task.index, task.attempt + 1))
        elif isinstance(event, Failed) and event.trouble != "content" and task.crashes + 1 < CRASHES_ALLOWED:
            logger.warning("video %d: %s; retrying", task.index, event.sentence)
            self._queue.append(Render(task.index, task.attempt, crashes=task.crashes + 1))
        elif isinstance(event, Failed) and event.trouble in ("lost", "gone"):
            logger.warning("video %d is left for the next run: %s", task.index, event.sentence)
            self._left += 1
        else:
            reason = event.reason if isinstance(event, Refused) else event.sentence
            logger.error("video %d is quarantined: %s", task.index, reason)
            self._quarantined += 1
            self._dataset.quarantine(task.index, reason)
            self._settle(task.index, worker)

    def _settle(self, index: int, worker: int) -> None:
        """Count video ``index`` as done; after the last one of a shard, ``worker`` seals it."""
        self._videos += 1
        shard = self._dataset.shard_of(index)
        self._open[shard] -= 1
        if not self._open[shard]:
            del self._open[shard]
            self._sealing += 1
            retried = tuple(self._dataset.retried(shard))
            self._pool.submit(worker, Seal(shard, self._dataset.members(shard), retried))

    def _record(self, request: Seal, event: Event) -> None:
        """Add a shard that a worker sealed to the manifest; seal it here if the worker is gone."""
        self._sealing -= 1
        if isinstance(event, Sealed):
            if event.rows is not None:
                self._dataset.record(request.shard, event.rows)
            return
        assert isinstance(event, Failed)
        _raise_for_all(event)
        self._dataset.pack([request.shard])

    def _hold_to_renderer(self, index: int, renderer: str) -> None:
        """Remove video ``index`` and raise, if the nodes of a cluster that starts a data set differ."""
        if self._any_renderer:
            return
        self._renderer = self._renderer or renderer
        try:
            check_renderer(self._renderer, renderer)
        except VOSForgeError:
            self._dataset.discard(index)
            raise


def _raise_for_all(event: Failed) -> None:
    """Raise what is not the fault of one video: all others would fare the same."""
    if event.trouble == "unusable":
        raise BlenderUnusableError(event.sentence)
    if event.trouble == "machine":
        raise MachineError(event.sentence)
