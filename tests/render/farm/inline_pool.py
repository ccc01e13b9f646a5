"""Workers in this process: what a run makes of their events, without starting Ray or Blender."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from render.farm.events import Event, Ready
from render.farm.jobs import Dataset
from render.farm.pool import Request
from render.farm.process import Job
from render.farm.run import Progress, render_missing
from render.farm.worker import Worker, Workplace

Rendering = Callable[[int, Job], Iterator[Event]]
"""What Blender process ``number`` does with a job."""


class InlinePool:
    """Workers whose Blender processes are generators: the oldest request is answered first."""

    def __init__(self, dataset: Dataset, workers: int, rendering: Rendering, nodes: int = 1) -> None:
        self.size, self._nodes = workers, nodes
        self._place, self._rendering = Workplace(dataset.root, Path("store"), 1, "cpu"), rendering
        self._said: deque[tuple[int, Request | None, Iterator[Event]]] = deque()
        self._workers: list[Worker] = []

    def start(self) -> int:
        number, worker = len(self._workers), Worker(self._place, len(self._workers))
        worker._blender = InlineBlender(number, self._rendering)  # type: ignore[assignment]
        self._workers.append(worker)
        self._said.append((number, None, iter([Ready()])))
        return number

    def stop(self, worker: int) -> None:
        self._said = deque(said for said in self._said if said[0] != worker)

    def node(self, worker: int) -> str:
        return f"node {worker % self._nodes}"

    def submit(self, worker: int, request: Request) -> None:
        self._said.append((worker, request, self._workers[worker].answer(request)))

    def events(self, seconds: float) -> Iterable[tuple[int, Request | None, Event]]:
        if not self._said:
            return []
        worker, request, answer = self._said[0]
        event = next(answer, None)
        if event is None:
            self._said.popleft()
            return []
        return [(worker, request, event)]


class InlineBlender:
    """Stands in for a Blender process."""

    def __init__(self, number: int, rendering: Rendering) -> None:
        self._number, self._rendering = number, rendering
        self.pid: int | None = None

    def run(self, job: Job) -> Iterator[Event]:
        return self._rendering(self._number, job)


def render_inline(
    dataset: Dataset, rendering: Rendering, workers: int = 1, nodes: int = 1, **settings: Any
) -> Progress:
    """`render_missing` with inline workers, dealt out to so many machines."""

    @contextmanager
    def pool_for(videos: int) -> Iterator[InlinePool]:
        yield InlinePool(dataset, workers, rendering, nodes)

    return render_missing(dataset, pool_for, **settings)
