"""What a run tells Prometheus, by counters that Ray's nodes serve. Imports no Ray: the kinds of counters are given.

Ray serves them under these names with ``ray_`` before, and ``_total`` after those of counters. Where ``ray[default]``
is not installed it counts them and serves none.
"""

from collections.abc import Callable, Mapping
from typing import Any

from render.farm.run import Progress

Kind = Callable[..., Any]
"""One of the classes of ``ray.util.metrics``."""
OUTCOMES = ("done", "refused", "failed", "quarantined", "left")


class Metrics:
    """The counters of a run."""

    def __init__(self, counter: Kind, gauge: Kind) -> None:
        self._frames = counter("vosforge_frames", "Frames that were rendered, those of redrawn videos too")
        self._videos = counter("vosforge_videos", "What became of videos that were tried", ("outcome", "trouble"))
        self._left = gauge("vosforge_videos_left", "Videos of this run that are neither rendered nor quarantined")
        self._told = 0

    def show(self, progress: Progress) -> None:
        """The run got so far."""
        if progress.frames_done > self._told:
            self._frames.inc(progress.frames_done - self._told)
            self._told = progress.frames_done
        self._left.set(progress.videos_total - progress.videos_done)  # again and again: Ray forgets gauges after 20 s

    def note(self, event: str, facts: Mapping[str, object]) -> None:
        """An event of the run's log."""
        subject, _, outcome = event.partition(" ")
        if subject == "video" and outcome in OUTCOMES:
            self._videos.inc(tags={"outcome": outcome, "trouble": str(facts.get("trouble", ""))})


def memory_gauge(gauge: Kind, worker: int) -> Any:
    """The gauge of a worker's memory, for itself to set."""
    made = gauge("vosforge_worker_memory_bytes", "What a worker holds, its Blender process included", ("worker",))
    return made.set_default_tags({"worker": str(worker)})
