"""Rendering without Ray: workers that are threads of this process, each with its own Blender process."""

import platform
import queue
import threading
from collections.abc import Iterator

from render.farm.events import Event, Ready
from render.farm.pool import Request
from render.farm.worker import Worker, Workplace


class ThreadPool:
    """Workers on this machine; see `render.farm.pool.Pool`. A context manager that ends them."""

    def __init__(self, place: Workplace, size: int) -> None:
        """Starts nothing yet. ``size``: how many workers are wanted."""
        self.size = size
        self._place = place
        self._said: queue.SimpleQueue[tuple[int, Request | None, Event]] = queue.SimpleQueue()
        self._asked: dict[int, queue.SimpleQueue[Request | None]] = {}
        self._workers: dict[int, Worker] = {}
        self._started = 0

    def __enter__(self) -> "ThreadPool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in [*self._workers]:
            self.stop(worker)

    def start(self) -> int:
        """As in `Pool`."""
        number, self._started = self._started, self._started + 1
        self._asked[number] = queue.SimpleQueue()
        self._workers[number] = Worker(self._place, number)
        threading.Thread(target=self._serve, args=(number, self._asked[number]), daemon=True).start()
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
        """As in `Pool`."""
        try:
            said = self._said.get(timeout=seconds)
        except queue.Empty:
            return
        while True:
            if said[0] in self._workers:
                yield said
            try:
                said = self._said.get_nowait()
            except queue.Empty:
                return

    def _serve(self, number: int, asked: "queue.SimpleQueue[Request | None]") -> None:
        worker = self._workers[number]
        self._said.put((number, None, Ready()))
        while (request := asked.get()) is not None:
            for event in worker.answer(request):
                self._said.put((number, request, event))
