"""Rendering on Ray: a pool of actors, each a worker with its own Blender process, on this machine or a cluster."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from assets.store import AssetStore
from render.farm.events import Event, Failed, Frames, Ready
from render.farm.jobs import Dataset
from render.farm.layout import WHOLE_MACHINE, Layout, Resources, layout_for, layout_on_nodes, worker_memory
from render.farm.pool import Request
from render.farm.process import BLENDER, cards_of
from render.farm.run import Progress, render_missing
from render.farm.worker import Worker, Workplace
from vosforge.errors import MachineError, first_line
from vosforge.extras import extra
from vosforge.processes import cores, free_memory, resident_memory, sigterm_kept

with extra("cluster", "rendering needs Ray, on one machine too"):
    import ray
    from ray.exceptions import RayError, RayTaskError

    from vosforge.cluster import join_ray, start_ray

RAY_MEMORY = 800 * 2**20
"""Memory overhead of a local Ray, in bytes."""


def render_dataset(
    dataset: Dataset,
    store: AssetStore,
    resources: Resources = WHOLE_MACHINE,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    retry_quarantined: bool | str = False,
    start: str = BLENDER,
) -> Progress:
    """`render.farm.run.render_missing` with Ray's actors as workers, on this machine or the cluster of ``resources``.

    ``start``: the module of a worker's process, as in `BlenderProcess`.
    """

    @contextmanager
    def pool_for(videos: int) -> Iterator[_RayPool]:
        memory = worker_memory(dataset.config.render)
        try:
            with sigterm_kept():
                layout = _start_ray(resources, videos, memory)
            folders = dataset.root.resolve(), store.root.resolve()
            place = Workplace(*folders, layout.threads, resources.device, start, dataset.logs)
            yield _RayPool(place, layout, resources, memory)
        finally:
            ray.shutdown()

    return render_missing(
        dataset, pool_for, on_progress, retry_quarantined=retry_quarantined, any_renderer=resources.any_renderer
    )


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


class _Actor(Worker):
    """A worker that Ray runs."""

    def ready(self) -> str:
        """Answers once the actor runs, by its node."""
        return f"node {ray.get_runtime_context().get_node_id()[:8]}"

    def memory(self) -> int:
        """Bytes that the actor holds, too: it has a process of its own."""
        return super().memory() + resident_memory(os.getpid())


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
