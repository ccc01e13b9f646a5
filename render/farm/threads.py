"""Rendering without Ray: workers that are threads of this process, each with its own Blender process."""

import platform
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from assets.store import AssetStore
from render.farm.events import Event, Ready
from render.farm.jobs import Dataset
from render.farm.layout import WHOLE_MACHINE, Resources, layout_for, worker_memory
from render.farm.pool import Request
from render.farm.process import BLENDER, cards_of
from render.farm.run import Progress, render_missing
from render.farm.runlog import Note, untold
from render.farm.worker import Worker, Workplace
from vosforge.processes import cores, free_memory

JOIN_SECONDS = 0.1
"""Between two looks at whether a thread has ended."""


def render_here(
    dataset: Dataset,
    store: AssetStore,
    resources: Resources = WHOLE_MACHINE,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    retry_quarantined: bool | str = False,
    start: str = BLENDER,
    on_note: Note = untold,
) -> Progress:
    """`render.farm.run.render_missing` with threads as workers, as many as fit on this machine.

    ``start``: the module of a worker's process, as in `BlenderProcess`.
    """

    @contextmanager
    def pool_for(videos: int) -> Iterator[ThreadPool]:
        memory, worker = free_memory(), worker_memory(dataset.config.render)
        cards = cards_of(resources.device) if resources.device != "cpu" else 0
        layout = layout_for(resources, videos, cores=cores(), memory=memory, worker=worker, cards=cards)
        folders = dataset.root.resolve(), store.root.resolve()
        place = Workplace(*folders, layout.threads, resources.device, start, dataset.logs)
        with ThreadPool(place, layout.workers) as pool:
            yield pool

    return render_missing(
        dataset,
        pool_for,
        on_progress,
        retry_quarantined=retry_quarantined,
        any_renderer=resources.any_renderer,
        on_note=on_note,
    )


class ThreadPool:
    """Workers on this machine; see `render.farm.pool.Pool`. A context manager that ends them."""

    def __init__(self, place: Workplace, size: int) -> None:
        """Starts nothing yet. ``size``: how many workers are wanted."""
        self.size = size
        self._place = place
        self._said: queue.SimpleQueue[tuple[int, Request | None, Event | Exception]] = queue.SimpleQueue()
        self._asked: dict[int, queue.SimpleQueue[Request | None]] = {}
        self._workers: dict[int, Worker] = {}
        self._threads: list[tuple[threading.Thread, Worker]] = []

    def __enter__(self) -> "ThreadPool":
        return self

    def __exit__(self, *_: object) -> None:
        for number in [*self._workers]:
            self.stop(number)
        for thread, worker in self._threads:
            while thread.is_alive():  # it may just have started another process: nothing may be written from now on
                worker.close()
                thread.join(JOIN_SECONDS)

    def start(self) -> int:
        """As in `Pool`."""
        number = len(self._threads)
        worker, asked = Worker(self._place, number), queue.SimpleQueue[Request | None]()
        thread = threading.Thread(target=self._serve, args=(number, worker, asked), daemon=True)
        self._asked[number], self._workers[number] = asked, worker
        self._threads.append((thread, worker))
        thread.start()
        return number

    def stop(self, worker: int) -> None:
        """As in `Pool`."""
        self._asked.pop(worker).put(None)
        self._workers.pop(worker).close()

    def node(self, worker: int) -> str:
        """As in `Pool`."""
        return platform.node()

    def submit(self, worker: int, request: Request) -> None:
        """As in `Pool`."""
        self._asked[worker].put(request)

    def events(self, seconds: float) -> Iterator[tuple[int, Request | None, Event]]:
        """As in `Pool`. Raises what a bug raised in a worker."""
        try:
            said = self._said.get(timeout=seconds)
        except queue.Empty:
            return
        while True:
            number, request, event = said
            if number in self._workers:
                if isinstance(event, Exception):
                    raise event
                yield number, request, event
            try:
                said = self._said.get_nowait()
            except queue.Empty:
                return

    def _serve(self, number: int, worker: Worker, asked: "queue.SimpleQueue[Request | None]") -> None:
        self._said.put((number, None, Ready()))
        try:
            while (request := asked.get()) is not None:
                for event in worker.answer(request):
                    self._said.put((number, request, event))
        except Exception as error:
            if number in self._workers:  # else it was stopped, and its process closed under it
                self._said.put((number, None, error))
                raise
        finally:
            worker.close()
