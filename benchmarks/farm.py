"""What a farm costs beside Blender: videos of 160 frames pass through actors, processes, staging, shards and manifest.

    python -m benchmarks.farm runs/farm [--videos 30000] [--workers 100]

In place of each Blender stands a process that draws and renders nothing (`benchmarks.null_child`). Prints the driver's
processor time a video and its memory on the way, then how long a resume with nothing missing takes. Begin with a new
folder. The workers are as many as fit in 12 GiB, or fewer.
"""

import argparse
import os
import resource
import time
from pathlib import Path

from assets.catalog import Catalog
from assets.store import AssetStore
from benchmarks.null_child import FRAMES, SIDE
from benchmarks.processes import memory
from blender_scenes.spec import RenderSettings
from render.farm.cluster import Progress, render_dataset
from render.farm.jobs import Dataset, DatasetConfig
from render.farm.layout import Resources
from vosforge.log import console

CHILD = "benchmarks.null_child"
MIB = 2**20


def dataset_of(root: Path, videos: int, per_shard: int = 25) -> Dataset:
    """The data set at ``root`` that null children fill."""
    render = RenderSettings(width=SIDE, height=SIDE, frames=FRAMES)
    config = DatasetConfig(videos=videos, videos_per_shard=per_shard, held_out_every=0, render=render)
    return Dataset(root, config, Catalog())


def spent() -> float:
    """Processor seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run, report on the way, and resume."""
    parser = argparse.ArgumentParser(description="What a farm costs beside Blender.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=int, default=30_000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--every", type=int, default=1_000, help="videos between two lines")
    options = parser.parse_args()
    store = AssetStore(options.out / "store")
    began, began_at = spent(), time.monotonic()
    seen = {"videos": 0, "spent": began}

    def report(run: Progress) -> None:
        if run.videos_done < seen["videos"] + options.every:
            return
        now = spent()
        each = 1000 * (now - seen["spent"]) / (run.videos_done - seen["videos"])
        seen.update(videos=run.videos_done, spent=now)
        held = memory(os.getpid())["VmRSS"] / MIB
        console.print(
            f"{run.videos_done:6d} videos after {run.seconds:6.0f} s: {each:5.1f} ms of the driver a video, "
            f"{held:.0f} MiB"
        )

    done = render_dataset(
        dataset_of(options.out / "data", options.videos), store, Resources(options.workers), report, start=CHILD
    )
    each = 1000 * (spent() - began) / max(1, done.videos_done)
    console.print(
        f"{done.videos_done} videos through {options.workers} workers in {time.monotonic() - began_at:.0f} s: "
        f"{each:.1f} ms of the driver a video, all in all; redrawn {done.redrawn}, quarantined {done.quarantined}, "
        f"left {done.left}"
    )
    resumed = time.monotonic()
    dataset = dataset_of(options.out / "data", options.videos)
    again = render_dataset(dataset, store, Resources(options.workers), start=CHILD)
    console.print(
        f"a resume with nothing missing: {time.monotonic() - resumed:.1f} s, {again.videos_total} videos missing"
    )


if __name__ == "__main__":
    main()
