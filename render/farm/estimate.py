"""What a data set will cost: a few of its videos are rendered by one worker, and the rest is arithmetic."""

import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from assets.catalog import Catalog
from assets.store import AssetStore
from render.farm.events import Done, Failed, Refused
from render.farm.jobs import Dataset, DatasetConfig
from render.farm.pool import Render
from render.farm.process import BLENDER
from render.farm.worker import Worker, Workplace
from vosforge.errors import VOSForgeError


class Sample(NamedTuple):
    """What one video took."""

    seconds: float
    """Of its worker, scenes that failed the checks included."""
    size: int
    """Bytes of the finished video."""


class Samples(NamedTuple):
    """What the sample videos took, and Blender's start before the first one."""

    start_seconds: float
    videos: tuple[Sample, ...]


class Span(NamedTuple):
    """An expected value and its range."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """What a data set costs. Expected values are for videos like the samples' mean, ranges for their extremes."""

    frames_per_second: Span
    """Of a worker."""
    core_hours: Span
    """Of all videos, without the set-up."""
    size: Span
    """Bytes of all videos."""
    seconds: Span
    """Until all workers are done, with Blender's start."""
    start_core_hours: float
    """Of Blender's start in all workers."""

    def usd(self, per_core_hour: float) -> Span:
        """What the cores cost, with Blender's start."""
        return Span(*(per_core_hour * (hours + self.start_core_hours) for hours in self.core_hours))


def estimate(samples: Samples, *, videos: int, frames: int, workers: int, threads: int) -> Estimate:
    """The cost of ``videos`` videos of ``frames`` frames with so many workers of so many threads each."""
    seconds = _span([video.seconds for video in samples.videos])
    size = _span([video.size for video in samples.videos])
    turns = math.ceil(videos / workers)
    return Estimate(
        frames_per_second=Span(frames / seconds.expected, frames / seconds.high, frames / seconds.low),
        core_hours=Span(*(videos * each * threads / 3600 for each in seconds)),
        size=Span(*(videos * each for each in size)),
        seconds=Span(*(samples.start_seconds + turns * each for each in seconds)),
        start_core_hours=min(workers, videos) * threads * samples.start_seconds / 3600,
    )


def _span(values: Sequence[float]) -> Span:
    return Span(sum(values) / len(values), min(values), max(values))


def sampled(count: int, videos: int) -> list[int]:
    """The indices of ``count`` of ``videos`` videos, spread over all of them."""
    count = min(count, videos)
    return [number * videos // count for number in range(count)]


def take_samples(
    config: DatasetConfig,
    catalog: Catalog,
    store: AssetStore,
    count: int,
    *,
    threads: int = 1,
    device: str = "cpu",
    start: str = BLENDER,
) -> Samples:
    """Render ``count`` videos of a data set into a temporary folder, one after the other, as a worker of a run does.

    ``start``: the module of the worker's process, as in `BlenderProcess`. Raises VOSForgeError for a video that fails.
    """
    with tempfile.TemporaryDirectory(prefix="vosforge-estimate-") as folder:
        dataset = Dataset(Path(folder) / "data", config, catalog)
        worker = Worker(Workplace(dataset.root, store.root.resolve(), threads, device, start), 0)
        try:
            began = time.monotonic()
            worker.prove()
            started = time.monotonic() - began
            return Samples(started, tuple(_sample(dataset, worker, index) for index in sampled(count, config.videos)))
        finally:
            worker.close()


def _sample(dataset: Dataset, worker: Worker, index: int) -> Sample:
    began = time.monotonic()
    reason = ""
    for attempt in range(dataset.config.attempts):
        *_, event = worker.answer(Render(index, attempt))
        if isinstance(event, Failed):
            raise VOSForgeError(f"sample video {index} failed: {event.sentence}")
        if isinstance(event, Done):
            return Sample(time.monotonic() - began, dataset.places.staged(index).stat().st_size)
        assert isinstance(event, Refused)
        reason = event.reason
    raise VOSForgeError(f"sample video {index} was refused in all attempts ({reason}): change the scene's settings")
