"""Rendering on Ray: a pool of actors, each the owner of one Blender process, works through a data set's videos."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.store import AssetStore
from render.farm.devices import check_renderer
from render.farm.jobs import Dataset
from render.farm.layout import WHOLE_MACHINE, Layout, Resources, layout_for, layout_on_nodes, worker_memory
from render.farm.process import BlenderCrashError, BlenderProcess, BlenderUnusableError, Event, cards_of
from vosforge.errors import MachineError, VOSForgeError, first_line
from vosforge.extras import extra
from vosforge.log import logger
from vosforge.processes import cores, free_memory, sigterm_kept

with extra("cluster", "rendering needs Ray, on one machine too"):
    import ray
    from ray.exceptions import RayError, RayTaskError

    from vosforge.cluster import join_ray, start_ray

RAY_MEMORY = 800 * 2**20
"""Memory overhead of a local Ray, in bytes."""
CRASHES_ALLOWED = 2
"""How often a video may lose its Blender process in one run."""


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


@dataclass(frozen=True)
class _Task:
    index: int
    attempt: int = 0
    crashes: int = 0


class _Renderer:
    """The actor: owns one Blender process and passes its events on."""

    def __init__(self, log: str, threads: int, device: str) -> None:
        self._blender = BlenderProcess(Path(log), threads, device)

    def run(self, job: Event) -> Iterator[Event]:
        """Yield the job's events; crashes, user errors and machine failures become events too."""
        try:
            yield from self._blender.run(job)
        except BlenderCrashError as error:
            yield {"crashed": str(error), "lost": error.lost}
        except BlenderUnusableError as error:
            yield {"unusable": str(error)}
        except MachineError as error:
            yield {"machine": str(error)}
        except VOSForgeError as error:
            yield {"error": str(error)}


def render_dataset(
    dataset: Dataset,
    store: AssetStore,
    resources: Resources = WHOLE_MACHINE,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    retry_quarantined: bool = False,
) -> Progress:
    """Render every missing video of ``dataset`` and seal its shards; returns the final counts.

    A video that fails its checks is redrawn with the next attempt; one that keeps failing or crashing Blender is
    quarantined with its reason (``retry_quarantined`` retries those of earlier runs). One whose process is repeatedly
    killed stays missing. When interrupted, sealed videos stay, and the next call resumes.
    Raises MachineError when the folder cannot be written to or the machine fails otherwise, and BlenderUnusableError
    if Blender cannot render as ``resources`` require, or the data set was started with another Blender or device;
    neither quarantines anything.
    """
    with dataset.writing():
        dataset.pack()
        if retry_quarantined:
            dataset.retry_quarantined()
        missing = dataset.missing()
        progress = Progress(0, len(missing) * dataset.config.render.frames, 0, len(missing), 0, 0, 0, 0.0)
        if missing:
            try:
                worker = worker_memory(dataset.config.render)
                with sigterm_kept():
                    layout = _start_ray(resources, len(missing), worker)
                progress = _Run(dataset, store, resources, layout, worker, on_progress).work(missing)
            finally:
                ray.shutdown()
            dataset.pack()  # also what a cluster's file system showed too late
        dataset.manifest()
        return progress


def _start_ray(resources: Resources, videos: int, worker: int) -> Layout:
    """Join the cluster, or start a local one; returns the layout for ``videos`` videos.

    ``worker``: bytes per worker.
    """
    if resources.address is not None:
        join_ray(resources.address)
        return layout_on_nodes(resources, ray.nodes(), videos, worker)
    cards = cards_of(resources.device) if resources.device != "cpu" else 0
    memory = free_memory() - RAY_MEMORY
    layout = layout_for(resources, videos, cores=cores(), memory=memory, worker=worker, cards=cards)
    start_ray(layout.workers * layout.threads, cards)
    return layout


class _Run:
    """One pass over the missing videos: busy actors and counts."""

    def __init__(
        self,
        dataset: Dataset,
        store: AssetStore,
        resources: Resources,
        layout: Layout,
        worker: int,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._dataset, self._store, self._on_progress = dataset, store, on_progress
        needs: dict[str, Any] = {"num_cpus": layout.threads}
        if resources.device != "cpu":
            needs["num_gpus"] = 1 / resources.workers_per_gpu  # Ray shows each process one card only
        if resources.address is not None:
            needs["memory"] = worker
        self._actor_class = ray.remote(**needs)(_Renderer)
        self._threads, self._device = layout.threads, resources.device
        self._any_renderer = resources.any_renderer
        self._renderer = None if resources.any_renderer else dataset.renderer()
        self._idle: list[Any] = [self._new_actor(number) for number in range(layout.workers)]
        self._busy: dict[Any, tuple[Any, _Task]] = {}
        self._queue: deque[_Task] = deque()
        self._open: Counter[int] = Counter()
        """How many videos each shard still waits for."""
        self._videos = self._redrawn = self._quarantined = self._left = self._actors = 0

    def work(self, missing: list[int]) -> Progress:
        self._queue.extend(_Task(index) for index in missing)
        self._open.update(map(self._dataset.shard_of, missing))
        started = time.monotonic()
        frames = self._dataset.config.render.frames
        rendered = 0
        left: dict[int, int] = {}
        while True:
            while self._queue and self._idle:
                task = self._queue.popleft()
                left[task.index] = frames
                self._submit(self._idle.pop(), task)
            progress = Progress(
                frames_done=rendered,
                frames_total=rendered + len(self._queue) * frames + sum(left.values()),
                videos_done=self._videos,
                videos_total=len(missing),
                redrawn=self._redrawn,
                quarantined=self._quarantined,
                left=self._left,
                seconds=time.monotonic() - started,
            )
            self._on_progress(progress)
            if not self._busy:
                return progress
            ready, _ = ray.wait(list(self._busy), num_returns=1, timeout=1.0)
            for stream in ready:
                actor, task = self._busy[stream]
                event = self._next_event(stream)
                if "frame" in event:
                    rendered += 1
                    left[task.index] -= 1
                else:
                    del left[task.index]
                    self._finish(stream, actor, task, event)

    def _new_actor(self, number: int) -> Any:
        log = self._dataset.root / "logs" / f"blender-{number:03d}.log"
        return self._actor_class.remote(str(log.resolve()), self._threads, self._device)

    def _submit(self, actor: Any, task: _Task) -> None:
        job = {
            "do": "render",
            "spec": self._dataset.spec(task.index, task.attempt).model_dump_json(),
            "store": str(self._store.root.resolve()),
            "catalog": str((self._dataset.root / "catalog.jsonl").resolve()),
            "staged": str(self._dataset.staged_path(task.index).resolve()),
            "gates": self._dataset.config.scene.gates,
            "renderer": self._renderer,
        }
        self._busy[actor.run.options(num_returns="streaming").remote(job)] = actor, task

    @staticmethod
    def _next_event(stream: Any) -> Event:
        try:
            event: Event = ray.get(next(stream))
        except RayTaskError:  # a bug
            raise
        except RayError as error:
            return {"actor_died": f"the render worker died ({first_line(error)})"}
        return event

    def _finish(self, stream: Any, actor: Any, task: _Task, event: Event) -> None:
        del self._busy[stream]
        if "unusable" in event:  # not this video's fault, and all others would fare the same
            raise BlenderUnusableError(event["unusable"])
        if "machine" in event:
            raise MachineError(event["machine"])
        if "actor_died" in event:
            self._actors += 1
            actor = self._new_actor(1000 + self._actors)
        self._idle.append(actor)
        if "done" in event:
            self._hold_to_renderer(task.index, event["renderer"])
            self._settle(task.index)
        elif "refused" in event and task.attempt + 1 < self._dataset.config.attempts:
            logger.debug("video %d: %s; redrawing", task.index, event["refused"])
            self._redrawn += 1
            self._queue.append(_Task(task.index, task.attempt + 1))
        elif ("crashed" in event or "actor_died" in event) and task.crashes + 1 < CRASHES_ALLOWED:
            logger.warning("video %d: %s; retrying", task.index, next(iter(event.values())))
            self._queue.append(_Task(task.index, task.attempt, task.crashes + 1))
        elif "actor_died" in event or event.get("lost"):
            logger.warning("video %d is left for the next run: %s", task.index, next(iter(event.values())))
            self._left += 1
        else:
            reason = next(iter(event.values()))
            logger.error("video %d is quarantined: %s", task.index, reason)
            self._quarantined += 1
            self._dataset.quarantine(task.index, reason)
            self._settle(task.index)

    def _settle(self, index: int) -> None:
        """Count video ``index`` as done; the last one of a shard seals it."""
        self._videos += 1
        shard = self._dataset.shard_of(index)
        self._open[shard] -= 1
        if not self._open[shard]:
            self._dataset.pack([shard])

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
