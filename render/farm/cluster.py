"""Rendering on Ray: a pool of actors, each a worker with its own Blender process, on this machine or a cluster."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from assets.store import AssetStore
from render.farm.events import Event, Failed, Frames
from render.farm.jobs import Dataset
from render.farm.layout import WHOLE_MACHINE, Layout, Resources, layout_for, layout_on_nodes, worker_memory
from render.farm.process import BLENDER, cards_of
from render.farm.run import Progress, Request, render_missing
from render.farm.worker import Worker, Workplace
from vosforge.errors import first_line
from vosforge.extras import extra
from vosforge.processes import cores, free_memory, sigterm_kept

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
    retry_quarantined: bool = False,
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
            place = Workplace(*folders, layout.threads, resources.device, start)
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


class _RayPool:
    """Workers that are Ray's actors; see `render.farm.run.Pool`."""

    def __init__(self, place: Workplace, layout: Layout, resources: Resources, memory: int) -> None:
        needs: dict[str, Any] = {"num_cpus": layout.threads}
        if resources.device != "cpu":
            needs["num_gpus"] = 1 / resources.workers_per_gpu  # Ray shows each process one card only
        if resources.address is not None:
            needs["memory"] = memory
        self._place, self._kind = place, ray.remote(**needs)(Worker)
        self._actors: dict[int, Any] = {number: self._kind.remote(place, number) for number in range(layout.workers)}
        self._streams: dict[Any, tuple[int, Request]] = {}
        self._started = layout.workers

    def workers(self) -> Sequence[int]:
        return [*self._actors]

    def submit(self, worker: int, request: Request) -> None:
        answering = self._actors[worker].answer.options(num_returns="streaming")
        self._streams[answering.remote(request)] = worker, request

    def events(self, seconds: float) -> Iterator[tuple[int, Request, Event]]:
        waited = [*self._streams]
        if ray.wait(waited, num_returns=1, timeout=seconds)[0]:
            for stream in ray.wait(waited, num_returns=len(waited), timeout=0)[0]:
                event = _next_event(stream)
                worker, request = self._streams[stream]
                if not isinstance(event, Frames):
                    del self._streams[stream]
                yield worker, request, event

    def replace(self, worker: int) -> int:
        del self._actors[worker]
        number = self._started
        self._started += 1
        self._actors[number] = self._kind.remote(self._place, number)
        return number


def _next_event(stream: Any) -> Event:
    try:
        event: Event = ray.get(next(stream))
    except RayTaskError:  # a bug
        raise
    except RayError as error:
        return Failed("gone", f"the render worker died ({first_line(error)})")
    return event
