"""What the modules of `diverse` cost: processor time a clip and a frame, of whole presets and without one module each.

    python -m benchmarks.modules [--frames 8] [--size 256x256] [--quality fast] [--passes flow] [--videos 12]

One warm Blender process with one thread renders the same videos of every variant in turns, through the product's own
jobs, staging included. Set-up is what the first frame cost beyond a frame in the middle. Without a module, all other
draws stay as they were, so that the difference is what it costs (but for what it drew that others build upon).
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.box import SIMPLE
from rich.table import Table

from assets.catalog import Catalog
from assets.store import AssetStore
from benchmarks.rendering import clock, warm_up
from benchmarks.scenes import open_catalog, render_job
from blender_scenes.modules import Modules
from blender_scenes.spec import SceneSpec
from render.farm.events import Working
from render.farm.jobs import DatasetConfig, scene_of, split_assets
from render.farm.process import BlenderProcess
from render.qualities import quality_settings
from tools.commands.scenes import preset_config
from vosforge.log import console

PRESETS = ("basic", "bl30k", "diverse")


class Clip(NamedTuple):
    """What one video cost, in seconds of processor time."""

    whole: float
    set_up: float
    frames: int


def variants(settings: dict[str, object], without: list[str]) -> dict[str, DatasetConfig]:
    """The presets, and `diverse` without one module each."""
    found = {name: preset_config(name, 1, 0, settings) for name in PRESETS}
    for name in without:
        found[f"diverse - {name}"] = preset_config("diverse", 1, 0, settings | {f"scene.modules.{name}": None})
    return found


def drawn(config: DatasetConfig, catalog: Catalog, index: int) -> SceneSpec:
    """Video ``index`` of a data set with these settings."""
    return scene_of(config, split_assets(config, catalog), index)


def rendered(blender: BlenderProcess, spec: SceneSpec, store: AssetStore, folder: Path) -> Clip:
    """What a video costs."""
    staged = folder / "staged.h5"
    job = render_job(spec, store, folder, staged)
    begin = time.clock_gettime(clock(blender))
    events = (event for event in blender.run(job) if not isinstance(event, Working))
    stamps = np.array([time.clock_gettime(clock(blender)) for _ in events])
    staged.unlink(missing_ok=True)
    frame = float(np.median(np.diff(stamps[:-1])))
    return Clip(float(stamps[-1] - begin), float(stamps[0] - begin - frame), spec.render.frames)


def result_table(costs: dict[str, list[Clip]]) -> Table:
    """A row a variant: means over its videos; shares are of what `diverse` costs."""
    columns = ("variant", "s a video", "set-up s", "frames/s", "against bl30k", "against diverse")
    table = Table(*columns, box=SIMPLE)
    for column in table.columns[1:]:
        column.justify = "right"
    whole = {name: sum(clip.whole for clip in clips) / len(clips) for name, clips in costs.items()}
    for name, clips in costs.items():
        table.add_row(
            name,
            f"{whole[name]:.2f}",
            f"{sum(clip.set_up for clip in clips) / len(clips):.2f}",
            f"{clips[0].frames / whole[name]:.2f}",
            f"{whole['bl30k'] / whole[name]:.2f}",
            f"{whole[name] / whole['diverse']:.2f}",
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", default="procedural", help="procedural, or the name of an installed pack")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-modules"))
    parser.add_argument("--videos", type=int, default=12)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--quality", default="fast")
    parser.add_argument("--passes", default="flow", help="some of depth,flow,normal,amodal,tracks")
    parser.add_argument("--without", help="modules, by commas, that diverse is also measured without (default: all)")
    arguments = parser.parse_args()
    width, height = arguments.size.split("x")
    settings = quality_settings(arguments.quality) | {
        "render.width": width,
        "render.height": height,
        "render.frames": arguments.frames,
        "render.passes": [name for name in arguments.passes.split(",") if name],
    }
    without = list(Modules.model_fields) if arguments.without is None else arguments.without.split(",")
    configs = variants(settings, [name for name in without if name])
    folder, store = arguments.folder / arguments.assets, AssetStore()
    catalog = open_catalog(folder, arguments.assets, store)
    costs: dict[str, list[Clip]] = {name: [] for name in configs}
    with BlenderProcess(folder / "blender.log") as blender:
        warm_up(blender, drawn(configs["basic"], catalog, 0), store, folder)
        for index in range(arguments.videos):
            for name, config in configs.items():
                clip = rendered(blender, drawn(config, catalog, index), store, folder)
                costs[name].append(clip)
                console.print(f"video {index}, {name}: {clip.whole:.2f} CPU s")
    console.print(result_table(costs))


if __name__ == "__main__":
    main()
