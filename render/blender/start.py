"""``python -m render.blender.start FD THREADS DEVICE``: a Blender process with a limited number of threads.

Blender and Intel's denoiser start a thread per visible core, whatever Cycles' setting, and idle ones spin: a quarter of
a frame's processor time. So they see only a few cores while they count them.
"""

import os
import sys
from pathlib import Path

import cv2


def start() -> None:
    """Import Blender, set the engine up, and serve."""
    connection, threads, device = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:threads])
    cv2.setNumThreads(threads)
    from render.blender.worker import run_worker  # imports bpy

    run_worker(connection, threads, device, ready=lambda: _let_run_on(cores))


def _let_run_on(cores: set[int]) -> None:
    """Allow every thread of this process on any of ``cores``."""
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


if __name__ == "__main__":
    start()
