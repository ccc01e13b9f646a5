"""Rendering on Ray: a pool of actors, each a worker with its own Blender process, on this machine or a cluster."""

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from assets.memory import versions
from assets.models import Model
from assets.sources import Trees
from assets.store import AssetStore
from render.farm.events import Event, Failed, Frames, Ready
from render.farm.jobs import Dataset
from render.farm.layout import (
    WHOLE_MACHINE,
    WORKER_MEMORY,
    Layout,
    Resources,
    layout_for,
    layout_on_nodes,
    worker_memory,
)
from render.farm.metrics import Metrics, memory_gauge
from render.farm.pool import Request
from render.farm.preparing import NotHere, Prepared, prepare_here, prepare_packed
from render.farm.process import BLENDER, cards_of
from render.farm.run import LOOK, WORKER_PATIENCE, Progress, render_missing
from render.farm.runlog import Note, untold
from render.farm.worker import Worker, Workplace
from vosforge.errors import MachineError, first_line
from vosforge.extras import extra
from vosforge.log import console
from vosforge.processes import cores, free_memory, resident_memory, sigterm_kept

with extra("cluster", "rendering needs Ray, on one machine too"):
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util import metrics as ray_metrics

    from vosforge.cluster import join_ray, start_ray

CODE = ("assets", "blender_scenes", "render", "vosforge")
"""The packages that workers on other machines get: their code is that of this process."""
RAY_MEMORY = 800 * 2**20
"""Memory overhead of a local Ray, in bytes."""
TASK_MODELS = 16
"""Models that a task prepares at most: Blender starts once for all of them."""
MODEL_TRIES = 5
"""How often a model is prepared on nodes that are lost, or fail, before it is prepared here."""


def render_dataset(
    dataset: Dataset,
    store: AssetStore,
    resources: Resources = WHOLE_MACHINE,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    retry_quarantined: bool | str = False,
    start: str = BLENDER,
    on_note: Note = untold,
) -> Progress:
    """`render.farm.run.render_missing` with Ray's actors as workers, on this machine or the cluster of ``resources``.

    ``start``: the module of a worker's process, as in `BlenderProcess`.
    """

    metrics = cache(partial(Metrics, ray_metrics.Counter, ray_metrics.Gauge))  # made when Ray runs

    @contextmanager
    def pool_for(videos: int) -> Iterator[_RayPool]:
        memory = worker_memory(dataset.config.render)
        try:
            with sigterm_kept():
                layout = _start_ray(resources, videos, memory)
            # Nodes of a cluster need not share a folder of assets where the data set is on a store.
            shared = resources.address is None or isinstance(dataset.root, Path)
            folders = dataset.root.resolve(), store.root.resolve() if shared else None
            place = Workplace(*folders, layout.threads, resources.device, start, dataset.logs)
            yield _RayPool(place, layout, resources, memory)
        finally:
            ray.shutdown()

    def show(progress: Progress) -> None:
        metrics().show(progress)
        on_progress(progress)

    def note(event: str, facts: Mapping[str, object]) -> None:
        metrics().note(event, facts)
        on_note(event, facts)

    return render_missing(
        dataset,
        pool_for,
        show,
        retry_quarantined=retry_quarantined,
        any_renderer=resources.any_renderer,
        on_note=note,
    )


def _start_ray(resources: Resources, videos: int, worker: int) -> Layout:
    """Join the cluster, or start a local one; returns the layout for ``videos`` videos.

    ``worker``: bytes per worker.
    """
    if resources.address is not None:
        join_ray(resources.address, CODE)
        return layout_on_nodes(resources, ray.nodes(), videos, worker)
    cards = cards_of(resources.device) if resources.device != "cpu" else 0
    memory = free_memory() - RAY_MEMORY
    layout = layout_for(resources, videos, cores=cores(), memory=memory, worker=worker, cards=cards)
    start_ray(layout.workers * layout.threads, cards, resources.metrics_port)
    return layout


class _Actor(Worker):
    """A worker that Ray runs."""

    def __init__(self, place: Workplace, number: int) -> None:
        super().__init__(place, number)
        self._memory = memory_gauge(ray_metrics.Gauge, number)

    def ready(self) -> str:
        """Answers once the actor runs, by its node."""
        return f"node {ray.get_runtime_context().get_node_id()[:8]}"

    def memory(self) -> int:
        """Bytes that the actor holds, too: it has a process of its own."""
        held = super().memory() + resident_memory(os.getpid())
        self._memory.set(held)
        return held


class _RayPool:
    """Workers that are Ray's actors; see `render.farm.pool.Pool`."""

    def __init__(self, place: Workplace, layout: Layout, resources: Resources, memory: int) -> None:
        needs: dict[str, Any] = {"num_cpus": layout.threads}
        if resources.device != "cpu":
            needs["num_gpus"] = 1 / resources.workers_per_gpu  # Ray shows each process one card only
        if resources.address is not None:
            needs["memory"] = memory
        self.size, self._local = layout.workers, resources.address is None
        self._place, self._kind = place, ray.remote(**needs)(_Actor)
        self._actors: dict[int, Any] = {}
        self._nodes: dict[int, str] = {}
        self._started = 0
        self._waited: dict[Any, tuple[int, Request | None]] = {}
        """Streams of answers, and the references of what `ready` says."""

    def start(self) -> int:
        """As in `Pool`. The actor waits for a node with room for it."""
        number, self._started = self._started, self._started + 1
        self._actors[number] = self._kind.remote(self._place, number)
        self._waited[self._actors[number].ready.remote()] = number, None
        return number

    def stop(self, worker: int) -> None:
        """As in `Pool`."""
        with suppress(RayError):
            ray.kill(self._actors.pop(worker))
        self._waited = {stream: asked for stream, asked in self._waited.items() if asked[0] != worker}

    def node(self, worker: int) -> str:
        """As in `Pool`; "" before the worker is ready."""
        return self._nodes.get(worker, "")

    def submit(self, worker: int, request: Request) -> None:
        """As in `Pool`."""
        answering = self._actors[worker].answer.options(num_returns="streaming")
        self._waited[answering.remote(request)] = worker, request

    def events(self, seconds: float) -> Iterator[tuple[int, Request | None, Event]]:
        """As in `Pool`. Raises MachineError when the node of a local Ray is gone: no other one will come."""
        if not self._waited:
            time.sleep(seconds)
            return
        waited = [*self._waited]
        if not ray.wait(waited, num_returns=1, timeout=seconds)[0]:
            if self._local and not any(node["Alive"] for node in ray.nodes()):
                raise MachineError("Ray's own process (raylet) on this machine was killed: run the same command again")
            return
        for stream in ray.wait(waited, num_returns=len(waited), timeout=0)[0]:
            if stream not in self._waited:  # its worker was stopped meanwhile
                continue
            worker, request = self._waited[stream]
            event = self._ready(worker, stream) if request is None else _answer(partial(next, stream))
            if not isinstance(event, Frames):
                del self._waited[stream]
            yield worker, request, event

    def _ready(self, worker: int, stream: Any) -> Event:
        found = _answer(lambda: stream)
        if isinstance(found, Failed):
            return found
        self._nodes[worker] = found
        return Ready()


def _answer(reference: Callable[[], Any]) -> Any:
    """What an actor says; Failed if it is gone."""
    try:
        return ray.get(reference())
    except RayTaskError:  # a bug
        raise
    except RayError as error:
        return Failed("gone", f"the render worker died ({first_line(error)})")


def prepare_on_nodes(
    models: Sequence[Model], store: AssetStore, address: str, start: str = BLENDER
) -> Generator[Prepared, None, None]:
    """`render.farm.preparing.prepare_here` with Ray's tasks, on the nodes of the cluster at ``address``.

    A node needs the models' files, as they are here, and no other folder. What a lost node was at is tried again,
    `MODEL_TRIES` times in all. Models that no node prepares are prepared here.
    """
    try:
        with sigterm_kept():
            join_ray(address, CODE)
        left = yield from _prepared_by_tasks(models, store, start)
    finally:
        ray.shutdown()
    if left:
        yield from prepare_here(left, store, start)


def _prepared_by_tasks(
    models: Sequence[Model], store: AssetStore, start: str
) -> Generator[Prepared, None, list[Model]]:
    """Yield what the nodes prepare; returns the models that they cannot."""
    options: dict[str, Any] = {"num_cpus": 1, "memory": WORKER_MEMORY, "max_retries": 0, "num_returns": "streaming"}
    options["_generator_backpressure_num_objects"] = 2  # what the driver has not stored yet fills no node's memory
    task: Any = ray.remote(**options)(prepare_packed)
    given = {_located(model): model for model in models}
    tasks = _task_slots()
    size = max(1, min(TASK_MODELS, len(given) // max(1, tasks)))
    located = [*given]
    waiting = deque(deque(located[begin : begin + size]) for begin in range(0, len(located), size))
    running: dict[Any, deque[Model]] = {}
    tries: Counter[Model] = Counter()
    left: list[Model] = []
    trees = Trees()
    looked = room = time.monotonic()

    def leave(model: Model, why: str) -> None:
        if not left:
            console.print(f"some models are prepared on this machine: {why}")
        left.append(given[model])

    while tasks and (waiting or running):
        while waiting and len(running) < tasks:
            batch = waiting.popleft()
            running[task.remote([*batch], versions(), start)] = batch
        for stream in ray.wait([*running], num_returns=1, timeout=LOOK)[0]:
            answer = _answer(partial(next, stream))
            model = running[stream].popleft()
            if isinstance(answer, NotHere):
                leave(model, answer.why)
            elif isinstance(answer, Failed) or answer.found.unknown:
                tries[model] += 1
                if tries[model] < MODEL_TRIES:
                    waiting.append(deque([model]))
                else:
                    leave(model, answer.sentence if isinstance(answer, Failed) else answer.found.warnings[0])
                if isinstance(answer, Failed) and (rest := running.pop(stream)):
                    waiting.append(rest)
            elif not _as_here(answer.found, trees):
                leave(model, f"a node sees another {model.path}")
            else:
                if answer.found.asset is not None:
                    store.unpack(answer.found.asset, answer.files)
                yield answer.found._replace(model=given[model])
            if not running.get(stream, True):
                del running[stream]
        if time.monotonic() - looked > LOOK:
            looked = time.monotonic()
            if tasks := _task_slots():
                room = looked
            elif looked - room < WORKER_PATIENCE:
                tasks = 1  # it waits for a node
    for batch in (*waiting, *running.values()):
        for model in batch:
            leave(model, "no node of the cluster has room")
    return left


def _task_slots() -> int:
    """How many tasks that prepare models fit on all nodes."""
    has = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(int(min(each.get("CPU", 0), each.get("memory", 0) // WORKER_MEMORY)) for each in has)


def _located(model: Model) -> Model:
    """``model`` with paths that mean the same in any process."""
    root = None if model.root is None else model.root.absolute()
    return model.model_copy(update={"path": model.path.absolute(), "root": root})


def _as_here(found: Prepared, trees: Trees) -> bool:
    """Whether a node prepared a model from files that are the same here."""
    with suppress(OSError):
        sources = found.sources
        return sources is not None and sources.state == trees.state(found.model.path, sources.folder)
    return False
