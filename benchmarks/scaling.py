"""Frames a second and memory of one machine's layouts: how many Blender processes, with how many threads each.

    python -m benchmarks.scaling [--layouts 1x1,2x1,1x2] [--rounds 3] [--videos 8] [--frames 8] [--device gpu]

Every layout (processes x threads) renders the same small data set, anew in each round and in turns, through the
product's own path: the Ray pool, gates, staging and sealing included. A rate counts from the first frame that is done
until the last shard is sealed; what it takes to get to that first frame (Ray, Blender, the first scene) is shown beside
it. The number of videos should be a multiple of every number of processes, or the last ones leave processes idle.
"""

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.box import SIMPLE
from rich.table import Table

from assets.store import AssetStore
from benchmarks.processes import MIB, watching
from benchmarks.scenes import open_catalog
from render.farm.cluster import RAY_MEMORY, Progress, render_dataset
from render.farm.jobs import Dataset, DatasetConfig
from render.farm.layout import Layout, Resources, layout_for, worker_memory
from render.farm.process import cards_of
from render.qualities import quality_settings
from tools.commands.scenes import preset_config
from vosforge.errors import InputError, VOSForgeError
from vosforge.log import console
from vosforge.processes import cores, free_memory


class Run(NamedTuple):
    """One layout, once: seconds to the first frame, frames a second from there, peaks of a worker and the rest."""

    start: float
    rate: float
    worker: int
    rest: int


def layouts_of(number: int) -> list[Layout]:
    """One process with one thread, then all ways to deal out ``number`` cores, most processes first."""
    whole = [Layout(number // threads, threads) for threads in range(1, number + 1) if number % threads == 0]
    return [Layout(1, 1), *whole] if number > 1 else whole


def measure(
    layout: Layout, resources: Resources, config: DatasetConfig, folder: Path, store: AssetStore, models: str
) -> Run:
    """Render the data set with a layout, from nothing."""
    catalog = open_catalog(folder, models, store)
    root = folder / "data"
    shutil.rmtree(root, ignore_errors=True)
    first: list[tuple[float, int]] = []

    def note(progress: Progress) -> None:
        if progress.frames_done and not first:
            first.append((time.perf_counter(), progress.frames_done))

    began = time.perf_counter()
    with watching() as peaks:
        done = render_dataset(Dataset(root, config, catalog), store, resources, note)
    ended = time.perf_counter()
    if done.quarantined:
        raise VOSForgeError(f"{done.quarantined} videos could not be rendered: {root}/logs says why")
    shutil.rmtree(root)
    at, frames = first[0]
    return Run(at - began, (done.frames_done - frames) / (ended - at), peaks.worker, peaks.rest)


def result_table(runs: dict[Layout, list[Run]]) -> Table:
    """A row a layout: medians over the rounds, and how far they lie apart."""
    columns = (
        "processes x threads",
        "frames/s",
        "+-",
        "against 1x1",
        "first frame after s",
        "MiB a worker",
        "MiB else",
    )
    table = Table(*columns, box=SIMPLE)
    for column in table.columns[1:]:
        column.justify = "right"
    alone = runs.get(Layout(1, 1))
    for layout, some in runs.items():
        rates = [run.rate for run in some]
        rate = statistics.median(rates)
        table.add_row(
            f"{layout.workers}x{layout.threads}",
            f"{rate:.2f}",
            f"{(max(rates) - min(rates)) / 2 / rate:.0%}",
            f"{rate / statistics.median(run.rate for run in alone):.2f}" if alone else "",
            f"{statistics.median(run.start for run in some):.1f}",
            f"{max(run.worker for run in some) / MIB:.0f}",
            f"{max(run.rest for run in some) / MIB:.0f}",
        )
    return table


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", default="procedural", help="procedural, or the name of an installed pack")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-scaling"))
    parser.add_argument("--layouts", help="processes x threads, by commas; default: 1x1, and all that fill the cores")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", default="768x512")
    parser.add_argument("--preset", default="bl30k")
    parser.add_argument("--quality", default="standard")
    parser.add_argument("--passes", default="", help="some of depth,flow,normal,amodal,tracks")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers-per-gpu", type=int, default=2)
    arguments = parser.parse_args()
    free = free_memory()
    resources = Resources(device=arguments.device, workers_per_gpu=arguments.workers_per_gpu)
    layouts = _parsed(arguments.layouts) if arguments.layouts else layouts_of(cores())
    width, height = arguments.size.split("x")
    chosen = quality_settings(arguments.quality) | {
        "render.width": width,
        "render.height": height,
        "render.frames": arguments.frames,
        "render.passes": [name for name in arguments.passes.split(",") if name],
        "videos_per_shard": 4,
    }
    config = preset_config(arguments.preset, arguments.videos, 0, chosen)
    folder, store = arguments.folder / arguments.assets, AssetStore()
    runs: dict[Layout, list[Run]] = {layout: [] for layout in layouts}
    for number in range(arguments.rounds):
        for layout in layouts:
            asked = Resources(layout.workers, layout.threads, resources.device, resources.workers_per_gpu)
            run = measure(layout, asked, config, folder, store, arguments.assets)
            runs[layout].append(run)
            console.print(f"round {number + 1}, {layout.workers}x{layout.threads}: {run.rate:.2f} frames/s")
    console.print(result_table(runs))
    cards = cards_of(resources.device)
    worker = worker_memory(config.render)
    default = layout_for(resources, 10**6, cores=cores(), memory=free - RAY_MEMORY, worker=worker, cards=cards)
    console.print(
        f"by default this machine ({cores()} cores, {free / MIB:.0f} MiB free, {worker / MIB:.0f} set aside a worker) "
        f"renders with {default.workers}x{default.threads}"
    )
    rows = [
        {"workers": layout.workers, "threads": layout.threads, **run._asdict()}
        for layout in runs
        for run in runs[layout]
    ]
    kept = {
        "when": time.strftime("%Y-%m-%d %H:%M:%S"),
        "load": os.getloadavg(),
        "config": config.model_dump(mode="json"),
        "rows": rows,
    }
    (folder / "figures.json").write_text(json.dumps(kept, indent=1))
    console.print(f"all figures: {folder / 'figures.json'}")


def _parsed(text: str) -> Sequence[Layout]:
    try:
        return [Layout(*map(int, word.split("x"))) for word in text.split(",")]
    except (ValueError, TypeError):
        raise InputError(f"'{text}' is no list of layouts: write 1x1,2x1 for one process, then two") from None


if __name__ == "__main__":
    main()
