"""Workers in this process: what a run makes of their events, without starting Ray or Blender."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from render.farm.events import Event
from render.farm.jobs import Dataset
from render.farm.process import Job
from render.farm.run import Progress, Request, render_missing
from render.farm.worker import Worker, Workplace

Rendering = Callable[[int, Job], Iterator[Event]]
"""What Blender process ``number`` does with a job."""


class InlinePool:
    """Workers whose Blender processes are generators: the oldest request is answered first."""

    def __init__(self, dataset: Dataset, workers: int, rendering: Rendering) -> None:
        self._place, self._rendering = Workplace(dataset.root, Path("store"), 1, "cpu"), rendering
        self._asked: deque[tuple[int, Request, Iterator[Event]]] = deque()
        self._workers: list[Worker] = []
        for _ in range(workers):
            self._start()

    def _start(self) -> int:
        number, worker = len(self._workers), Worker(self._place, len(self._workers))
        worker._blender = InlineBlender(number, self._rendering)  # type: ignore[assignment]
        self._workers.append(worker)
        return number

    def workers(self) -> list[int]:
        return [*range(len(self._workers))]

    def submit(self, worker: int, request: Request) -> None:
        self._asked.append((worker, request, self._workers[worker].answer(request)))

    def events(self, seconds: float) -> Iterable[tuple[int, Request, Event]]:
        worker, request, answer = self._asked[0]
        event = next(answer, None)
        if event is None:
            self._asked.popleft()
            return []
        return [(worker, request, event)]

    def replace(self, worker: int) -> int:
        return self._start()


class InlineBlender:
    """Stands in for a Blender process."""

    def __init__(self, number: int, rendering: Rendering) -> None:
        self._number, self._rendering = number, rendering

    def run(self, job: Job) -> Iterator[Event]:
        return self._rendering(self._number, job)


def render_inline(dataset: Dataset, rendering: Rendering, workers: int = 1, **settings: Any) -> Progress:
    """`render_missing` with inline workers."""

    @contextmanager
    def pool_for(videos: int) -> Iterator[InlinePool]:
        yield InlinePool(dataset, workers, rendering)

    return render_missing(dataset, pool_for, **settings)
