"""Seals a source's videos one by one, in several processes."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tools.convert.layouts import SourceVideo
from tools.convert.reading import read_video
from vosforge.errors import VOSForgeError
from vosforge.processes import end_with_owner, interrupts_ignored
from vosforge.videos import stage_video


class Job(NamedTuple):
    """A video to read, and the path to seal it at."""

    video: SourceVideo
    path: Path
    attributes: dict[str, Any]


def stage(job: Job) -> str:
    """Read and seal one video; returns its id."""
    stage_video(job.path, read_video(job.video, job.attributes))
    return job.video.id


@contextmanager
def worker_map(workers: int) -> Iterator[Callable[[Iterable[Job]], Iterator[str]]]:
    """``stage`` mapped over jobs, in order, in several processes or (up to 1) in this one.

    On leaving the block, started jobs are finished and the rest are dropped.
    """
    if workers <= 1:
        yield lambda jobs: map(stage, jobs)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), end_with_owner)

    def mapped(jobs: Iterable[Job]) -> Iterator[str]:
        with interrupts_ignored():  # all jobs are handed over, and the processes started, at once
            return pool.map(stage, jobs)

    try:
        yield mapped
    except BrokenProcessPool:
        raise VOSForgeError(
            "an importing process was killed, perhaps out of memory: resume with the same command and fewer --workers"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
