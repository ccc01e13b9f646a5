"""One run over a data set's missing videos: hands them to the workers of a pool, and acts on what these say.

Who is to blame for a failure decides what happens. A video is tried again on other workers, so many times, and then
quarantined with the kind of its trouble. A worker that fails one video after the other is no longer used, nor is a
machine whose disk fails. What was killed, or went away with its machine, is nobody's fault. Where the data set's folder
itself cannot be written to, the run waits.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from render.farm.devices import check_renderer
from render.farm.events import Done, Event, Failed, Frames, Outcome, Ready, Refused, Sealed, Trouble
from render.farm.jobs import Dataset
from render.farm.pausing import Pause
from render.farm.pool import Pool, Render, Request, Seal
from render.farm.process import BlenderUnusableError
from render.farm.runlog import Note, RunLog, untold
from vosforge.errors import MachineError, VOSForgeError
from vosforge.log import logger

TRIES: dict[Trouble, int] = {
    "crash": 3,
    "hang": 2,
    "out of memory": 3,
    "missing asset": 2,
    "content": 1,
    "killed": 20,
    "gone": 20,
}
"""How often a video may fail in each way before it is quarantined, or left missing if it is innocent."""
INNOCENT = ("killed", "gone")
STREAK = 3
"""A worker that fails so many different videos in a row is no longer used, if another one is ready."""
FOLDER_PATIENCE = WORKER_PATIENCE = 600.0
"""Seconds a run waits for a folder that cannot be written to, and for a worker, before it ends."""
PAUSE = 5.0
"""Seconds between two tries meanwhile."""
LOOK = 1.0
"""Seconds between two looks at the workers, where they say nothing."""


@dataclass(frozen=True)
class Progress:
    """Progress of a run: counts and seconds since its start. Redrawn videos count in the frames each time.

    ``left``: videos that were killed again and again; they stay missing. ``refusals``: how often a video failed the
    checks, by kind and module.
    """

    frames_done: int
    frames_total: int
    videos_done: int
    videos_total: int
    redrawn: int
    quarantined: int
    left: int
    seconds: float
    refusals: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Task:
    """A video to render, and what happened to it in this run."""

    index: int
    attempt: int = 0
    failures: tuple[Trouble, ...] = ()
    failed_on: frozenset[int] = frozenset()


def render_missing(
    dataset: Dataset,
    pool_for: Callable[[int], AbstractContextManager[Pool]],
    on_progress: Callable[[Progress], None] = lambda progress: None,
    *,
    retry_quarantined: bool | str = False,
    any_renderer: bool = False,
    on_note: Note = untold,
) -> Progress:
    """Render every missing video of ``dataset`` and seal its shards; returns the final counts.

    A video that fails its checks is redrawn with the next attempt; one that keeps failing is quarantined with its
    reason. When interrupted, sealed videos stay, and the next call resumes. ``pool_for``: opens the workers for so many
    videos; ``retry_quarantined``: whether those of earlier runs are retried, or their kind; ``any_renderer``: whether a
    video may come from another Blender or device than the others; ``on_note``: is told each event of the run's log.
    Raises MachineError when the folder cannot be written to for `FOLDER_PATIENCE` seconds or no worker is left, and
    BlenderUnusableError if Blender cannot render as required, or the data set was started with another Blender or
    device; neither quarantines anything.
    """
    with dataset.writing():
        dataset.manifest()
        dataset.pack()
        if retry_quarantined:
            dataset.retry_quarantined(retry_quarantined if isinstance(retry_quarantined, str) else None)
        missing = dataset.missing()
        progress = Progress(0, 0, 0, 0, 0, 0, 0, 0.0)
        if missing:
            try:
                with (
                    RunLog(dataset.places, len(missing), dataset.part.label, on_note) as log,
                    pool_for(len(missing)) as pool,
                ):
                    progress = _Run(dataset, pool, missing, on_progress, any_renderer, log).work()
            except BaseException:
                with suppress(VOSForgeError):  # the first error is the one to tell of
                    dataset.manifest()
                raise
            dataset.pack()  # also what a cluster's file system showed too late
        dataset.manifest()
        return progress


class _Run:
    """The queue, the workers and the counts. What a video costs does not depend on how many there are."""

    def __init__(
        self,
        dataset: Dataset,
        pool: Pool,
        missing: Sequence[int],
        on_progress: Callable[[Progress], None],
        any_renderer: bool,
        log: RunLog,
    ) -> None:
        self._dataset, self._pool, self._on_progress, self._log = dataset, pool, on_progress, log
        self._pause = Pause(dataset.root, log)
        self._any_renderer = any_renderer
        self._renderer = None if any_renderer else dataset.renderer()
        self._queue = deque(_Task(index) for index in missing)
        self._open = Counter(map(dataset.shard_of, missing))
        """How many videos each shard still waits for."""
        self._workers: set[int] = set()
        """Those that were started and are not known to be gone; not all are ready yet."""
        self._idle: list[int] = []
        self._busy: dict[int, _Task] = {}
        self._left_frames: dict[int, int] = {}
        """By busy worker: frames to come."""
        self._streaks: dict[int, set[int]] = {}
        """By worker: the videos it failed since it last finished one."""
        self._sealing: dict[int, list[Seal]] = {}
        """By worker: the shards it was asked to seal."""
        self._rendered = self._videos = self._redrawn = self._quarantined = self._left = 0
        self._refusals: Counter[str] = Counter()
        self._total, self._started = len(missing), time.monotonic()
        self._stuck: float | None = None
        """Since when the folder cannot be written to."""
        self._alone: float | None = None
        """Since when there is no worker."""
        self._why = "no worker could be started"

    def work(self) -> Progress:
        self._log.begin(self._pool.size)
        for _ in range(self._pool.size):
            self._start_worker()
        while True:
            if self._pause.on():
                self._alone = self._stuck = None  # there is no hurry
            else:
                self._hand_out()
            progress = self._progress()
            self._on_progress(progress)
            self._log.show(progress)
            if not self._busy and not self._sealing and not self._queue:
                return progress
            self._check_workers()
            for worker, request, event in self._pool.events(LOOK):
                self._act(worker, request, event)

    def _hand_out(self) -> None:
        """Give waiting videos to idle workers; one that failed a video gets it again if all others did, too."""
        for _ in range(len(self._queue)):
            if not self._idle:
                return
            task = self._queue.popleft()
            fresh = [worker for worker in self._idle if worker not in task.failed_on]
            if not fresh and self._busy.keys() - task.failed_on:
                self._queue.append(task)
                continue
            worker = (fresh or self._idle)[-1]
            self._idle.remove(worker)
            self._busy[worker] = task
            self._left_frames[worker] = self._dataset.config.render.frames
            self._pool.submit(worker, Render(task.index, task.attempt, self._renderer))
            self._log.given(worker, task.index, task.attempt)

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
            refusals=dict(self._refusals),
        )

    def _act(self, worker: int, request: Request | None, event: Event) -> None:
        if worker not in self._workers:
            return
        self._log.heard(worker, self._pool.node(worker), request, event)
        if isinstance(event, Ready):
            self._idle.append(worker)
        elif request is None:  # it was gone before it was ready
            self._replace(worker, event)
        elif isinstance(request, Seal):
            self._record(worker, request, event)
        elif isinstance(event, Frames):
            self._rendered += event.count
            self._left_frames[worker] -= event.count
        else:
            rest, task = self._left_frames.pop(worker), self._busy.pop(worker)
            assert isinstance(event, Outcome)
            if isinstance(event, Failed):
                self._failed(worker, task, event)
            else:
                self._rendered += rest
                self._stuck = None
                self._streaks.pop(worker, None)
                self._idle.append(worker)
                self._rendered_well(worker, task, event)

    def _rendered_well(self, worker: int, task: _Task, event: Done | Refused) -> None:
        if isinstance(event, Done):
            self._hold_to_renderer(task.index, event.renderer)
            self._settle(worker, task.index)
            return
        self._refusals[event.counted_as] += 1
        if task.attempt + 1 < self._dataset.config.attempts:
            logger.debug("video %d: %s; redrawing", task.index, event.reason)
            self._redrawn += 1
            self._queue.append(_Task(task.index, task.attempt + 1))
        else:
            self._quarantine(worker, task.index, event.reason)

    def _failed(self, worker: int, task: _Task, event: Failed) -> None:
        if event.trouble == "gone":
            self._replace(worker, event)
        elif event.trouble in ("unusable", "storage"):
            self._queue.appendleft(task)
            self._leave(worker, event)
            return
        elif not self._tired(worker, task.index, event):
            self._idle.append(worker)
        failures = (*task.failures, event.trouble)
        if failures.count(event.trouble) < TRIES[event.trouble]:
            logger.warning("video %d: %s; trying again", task.index, event.sentence)
            self._queue.append(replace(task, failures=failures, failed_on=task.failed_on | {worker}))
        elif event.trouble in INNOCENT:
            logger.warning("video %d is left for the next run: %s", task.index, event.sentence)
            self._log.note("video left", index=task.index, trouble=event.trouble)
            self._left += 1
        else:
            self._quarantine(worker, task.index, event.sentence, event.trouble)

    def _tired(self, worker: int, index: int, event: Failed) -> bool:
        """Whether ``worker`` failed too many videos in a row, and is no longer used."""
        if event.trouble in (*INNOCENT, "content"):
            return False
        streak = self._streaks.setdefault(worker, set())
        streak.add(index)
        if len(streak) < STREAK or not any(self._pool.node(each) for each in self._workers - {worker}):
            return False
        logger.warning(
            "worker %d on %s failed %d videos in a row and is no longer used",
            worker,
            self._pool.node(worker),
            len(streak),
        )
        self._drop([worker], f"it failed {len(streak)} videos in a row")
        return True

    def _leave(self, worker: int, event: Failed) -> None:
        """Use the machine of ``worker`` no longer; where it is the only one, wait until it can be used again."""
        self._why = event.sentence
        if event.trouble == "unusable":
            self._drop([worker], event.sentence)
            if not self._workers:
                raise BlenderUnusableError(event.sentence)
            logger.warning("worker %d on %s leaves the run: %s", worker, self._pool.node(worker), event.sentence)
            return
        node = self._pool.node(worker)
        others = {each for each in self._workers if self._pool.node(each) not in ("", node)}
        if others and self._dataset.places.writable():
            logger.warning("%s leaves the run: %s", node, event.sentence)
            busy = {each for each in self._workers - others if each in self._busy}
            self._queue.extendleft(self._busy.pop(each) for each in busy)
            for each in busy:
                del self._left_frames[each]
            self._drop(self._workers - others, event.sentence)
            return
        self._idle.append(worker)
        self._wait(event.sentence)

    def _drop(self, workers: Collection[int], why: str) -> None:
        """End workers. What they were to seal is sealed here."""
        for worker in [*workers]:
            self._log.left(worker, self._pool.node(worker), why)
            self._pool.stop(worker)
            self._workers.remove(worker)
            self._streaks.pop(worker, None)
            if worker in self._idle:
                self._idle.remove(worker)
            for request in self._sealing.pop(worker, []):
                self._pack(request.shard)

    def _replace(self, worker: int, event: Event) -> None:
        """Start a worker in place of one that is gone."""
        self._why = event.sentence if isinstance(event, Failed) else self._why
        self._start_worker()
        self._drop([worker], self._why)

    def _start_worker(self) -> None:
        worker = self._pool.start()
        self._workers.add(worker)
        self._log.started(worker)

    def _check_workers(self) -> None:
        """Raise MachineError when no worker was there for too long."""
        if self._busy or self._idle or self._sealing:
            self._alone = None
            return
        self._alone = self._alone or time.monotonic()
        if time.monotonic() - self._alone >= WORKER_PATIENCE:
            raise MachineError(f"no worker is left: {self._why}")

    def _wait(self, why: str) -> None:
        """Pause. Raises MachineError when the folder could not be written to for too long."""
        now = time.monotonic()
        if self._stuck is None:
            self._stuck = now
            logger.warning("%s; trying again for %.0f minutes", why, FOLDER_PATIENCE / 60)
            self._log.note("waiting", why=why)
        if self._pause.on():
            self._stuck = now
        elif now - self._stuck >= FOLDER_PATIENCE:
            raise MachineError(why)
        time.sleep(PAUSE)

    def _patiently(self, write: Callable[[], object]) -> None:
        """Call ``write``, again and again while the data set's folder cannot be written to."""
        while True:
            try:
                write()
            except MachineError as error:
                self._wait(str(error))
            else:
                return

    def _quarantine(self, worker: int, index: int, reason: str, trouble: str = "refused") -> None:
        logger.error("video %d is quarantined: %s: %s", index, trouble, reason)
        self._log.note("video quarantined", index=index, trouble=trouble, reason=reason)
        self._patiently(lambda: self._dataset.quarantine(index, f"{trouble}: {reason}"))
        self._quarantined += 1
        self._settle(worker, index)

    def _settle(self, worker: int, index: int) -> None:
        """Count video ``index`` as done; after the last one of a shard, ``worker`` seals it."""
        self._videos += 1
        shard = self._dataset.shard_of(index)
        self._open[shard] -= 1
        if self._open[shard]:
            return
        del self._open[shard]
        if worker not in self._workers:
            self._pack(shard)
            return
        request = Seal(shard, self._dataset.members(shard), tuple(self._dataset.retried(shard)))
        self._sealing.setdefault(worker, []).append(request)
        self._pool.submit(worker, request)

    def _pack(self, shard: int) -> None:
        sealed: list[Path] = []
        self._patiently(lambda: sealed.extend(self._dataset.pack([shard])))
        if sealed:
            self._log.note("shard sealed", shard=sealed[0].name)

    def _record(self, worker: int, request: Seal, event: Event) -> None:
        """Add a shard that a worker sealed to the manifest; seal it here if the worker could not."""
        self._sealing[worker].remove(request)
        if not self._sealing[worker]:
            del self._sealing[worker]
        if not isinstance(event, Sealed):
            self._pack(request.shard)
        elif (rows := event.rows) is not None:
            self._patiently(lambda: self._dataset.record(request.shard, rows))

    def _hold_to_renderer(self, index: int, renderer: str) -> None:
        """Remove video ``index`` and raise, if the nodes, or parts, that start a data set differ."""
        if self._any_renderer:
            return
        self._renderer = self._renderer or self._dataset.renderer(of_others=True) or renderer
        try:
            check_renderer(self._renderer, renderer)
        except VOSForgeError:
            self._dataset.discard(index)
            raise
