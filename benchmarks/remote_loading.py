"""How fast training clips come from shards on an S3 server: when they are first read, and from their copies.

    python -m benchmarks.remote_loading [--data FOLDER] [--clips 128] [--rounds 3]

The server (moto) runs on this machine, in a process of its own: the network costs nothing, the server's work is on the
same cores. The same clips are read from the folder, through an empty cache and through a filled one, interleaved, with
0, 1 and 2 workers. The first read has in it what each worker does once: half a second to load s3fs, and fetching. The
data set is that of `benchmarks.loading`, its shards repeated under other names.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from rich.table import Table
from torch.utils.data import Dataset

from benchmarks.loading import BATCH, SETTINGS, clips_per_second, one_thread, rendered
from benchmarks.s3 import local_s3, upload
from train.data.clips import ClipSample, ShardDataset
from vosforge.log import console
from vosforge.videos import build_manifest, place
from vosforge.videos.cache import local_copy
from vosforge.videos.format import shard_name


class Late(Dataset[ClipSample]):
    """Clips of ``dataset``, but the first few of ``first``: workers have started when ``dataset`` is first read."""

    def __init__(self, dataset: ShardDataset, first: ShardDataset, clips: int) -> None:
        self.dataset, self.first, self.clips = dataset, first, clips

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> ClipSample:
        """Clip ``index``."""
        return (self.first if index < self.clips else self.dataset)[index]


def repeated(data: Path, root: Path, times: int) -> Path:
    """The data set with each of its shards ``times`` times, as links."""
    (root / "shards").mkdir(parents=True)
    for number, shard in enumerate(sorted((data / "shards").glob("shard-*.h5")) * times):
        os.link(shard, root / "shards" / shard_name(number))
    build_manifest(root)
    return root


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a rendered data set (default: one is rendered)")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-loading"), help="where files are made")
    parser.add_argument("--repeat", type=int, default=6, help="how often each shard is there")
    parser.add_argument("--clips", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    one_thread(0)
    data = arguments.data or rendered(arguments.folder / "data")
    with tempfile.TemporaryDirectory(dir=data.parent) as made, local_s3("bench") as bucket:
        folder, cache = repeated(data, Path(made) / "data", arguments.repeat), Path(made) / "cache"
        os.environ["VOSFORGE_CACHE"] = str(cache)
        upload(folder, bucket)
        shards = sorted((folder / "shards").iterdir())
        size = sum(shard.stat().st_size for shard in shards) / 1e6
        started = time.perf_counter()
        for shard in shards:
            local_copy(place(f"{bucket}/shards/{shard.name}"))
        seconds = time.perf_counter() - started
        console.print(f"{len(shards)} shards of {size:.0f} MB are fetched in {seconds:.2f} s by one process")
        table = Table("workers", "folder", "S3, first read", "S3, from copies", title="clips a second (median)")
        for workers in (0, 1, 2):
            rates: dict[str, list[float]] = {"folder": [], "first": [], "copies": []}
            for _ in range(arguments.rounds):
                for name, found in rates.items():
                    if name == "first":
                        shutil.rmtree(cache)
                    here = ShardDataset(folder, SETTINGS)
                    there = here if name == "folder" else ShardDataset(bucket, SETTINGS)
                    dataset = Late(there, here, 2 * workers * BATCH) if name == "first" else there
                    found.append(clips_per_second(dataset, workers, arguments.clips // BATCH + 2 * workers))
            table.add_row(str(workers), *(f"{statistics.median(found):.1f}" for found in rates.values()))
        console.print(table)


if __name__ == "__main__":
    main()
