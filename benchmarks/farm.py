"""What a farm costs beside Blender: videos of 160 frames pass through actors, processes, staging, shards and manifest.

    python -m benchmarks.farm runs/farm [--videos 30000] [--workers 100]
    python -m benchmarks.farm runs/planned --planned --videos 300000

In place of each Blender stands a process that draws and renders nothing (`benchmarks.null_child`). Prints the driver's
processor time a video and its memory on the way, then how long a resume with nothing missing takes. Begin with a new
folder. ``--planned`` renders nothing: it times the planning of a new data set, and the resume of one whose shards are
all there (links to one shard, with the lines of a manifest).
"""

import argparse
import os
import resource
import time
from pathlib import Path

from assets.catalog import Catalog
from assets.store import AssetStore
from benchmarks.null_child import FRAMES, SIDE, record_of
from benchmarks.processes import memory
from blender_scenes.spec import RenderSettings, video_id
from render.farm.cluster import Progress, render_dataset
from render.farm.jobs import Dataset, DatasetConfig
from render.farm.layout import Resources
from vosforge.log import console
from vosforge.videos import Place, append_manifest, pack_shard, place, stage_video
from vosforge.videos.format import shard_name

CHILD = "benchmarks.null_child"
MIB = 2**20


def dataset_config(videos: int, per_shard: int = 25) -> DatasetConfig:
    """The settings of a data set that null children fill."""
    render = RenderSettings(width=SIDE, height=SIDE, frames=FRAMES)
    return DatasetConfig(videos=videos, videos_per_shard=per_shard, held_out_every=0, render=render)


def dataset_of(root: Place, videos: int, per_shard: int = 25) -> Dataset:
    """The data set at ``root`` that null children fill."""
    return Dataset(root, dataset_config(videos, per_shard), Catalog())


def spent() -> float:
    """Processor seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def plan(root: Path, videos: int, per_shard: int = 25) -> None:
    """Time the planning of a new data set, and a resume with nothing missing."""
    began = time.monotonic()
    dataset = dataset_of(root / "data", videos, per_shard)
    with dataset.writing():
        dataset.manifest()
        dataset.pack()
        count = len(dataset.missing())
    console.print(f"{count} videos planned in {time.monotonic() - began:.1f} s")
    one = dataset.staged_path(0)
    row = stage_video(one, record_of(0))
    pack_shard(root, 0, [one], {})
    one.unlink()
    dataset.places.shards.mkdir(exist_ok=True)
    for shard in dataset.shards():
        (dataset.shard_path(shard)).hardlink_to(root / "shard-00000.h5")
        members = (video_id(index) for index in dataset.members(shard))
        append_manifest(
            root / "data", [row.model_copy(update={"id": name, "shard": shard_name(shard)}) for name in members]
        )
    began = time.monotonic()
    again = render_dataset(dataset_of(root / "data", videos, per_shard), AssetStore(), start=CHILD)
    console.print(f"resumed in {time.monotonic() - began:.1f} s, {again.videos_total} videos missing")


def main() -> None:
    """Run, report on the way, and resume."""
    parser = argparse.ArgumentParser(description="What a farm costs beside Blender.")
    parser.add_argument("out", type=place, help="a folder, or the URL of one on a store")
    parser.add_argument("--videos", type=int, default=30_000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--per-shard", type=int, default=25, help="videos of a shard")
    parser.add_argument("--address", help="of a running Ray cluster (default: a local Ray)")
    parser.add_argument("--every", type=int, default=1_000, help="videos between two lines")
    parser.add_argument("--planned", action="store_true", help="only plan and resume")
    options = parser.parse_args()
    if options.planned:
        plan(Path(options.out), options.videos, options.per_shard)
        return
    store, resources = AssetStore(), Resources(options.workers, address=options.address)
    dataset = dataset_of(options.out / "data", options.videos, options.per_shard)
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

    done = render_dataset(dataset, store, resources, report, start=CHILD)
    each = 1000 * (spent() - began) / max(1, done.videos_done)
    console.print(
        f"{done.videos_done} videos through {options.workers} workers in {time.monotonic() - began_at:.0f} s: "
        f"{each:.1f} ms of the driver a video, all in all; redrawn {done.redrawn}, quarantined {done.quarantined}, "
        f"left {done.left}"
    )
    resumed = time.monotonic()
    dataset = dataset_of(options.out / "data", options.videos, options.per_shard)
    again = render_dataset(dataset, store, resources, start=CHILD)
    console.print(
        f"a resume with nothing missing: {time.monotonic() - resumed:.1f} s, {again.videos_total} videos missing"
    )


if __name__ == "__main__":
    main()
