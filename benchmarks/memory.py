"""Whether a Blender process that renders many videos grows: what it holds after every 25 of them, and the slope.

    python -m benchmarks.memory [--videos 300] [--every 25]

The videos are tiny and all different: both presets in turn, every second pair with all passes, each drawn anew from the
same catalog. The slope is that of the second half: over a few hundred videos libraries are loaded and heaps settle.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from assets.store import AssetStore
from benchmarks.processes import MIB, memory
from benchmarks.scenes import open_catalog, render_job
from blender_scenes.spec import SceneSpec
from render.farm.process import BlenderProcess
from tools.commands.scenes import draw_scenes, preset_config
from vosforge.errors import InputError
from vosforge.log import console

PRESETS = ("bl30k", "basic")
TINY = {"render.width": 96, "render.height": 64, "render.frames": 3, "render.samples": 1, "held_out_every": 0}
ALL_PASSES = {"render.passes": ["depth", "flow", "normal", "amodal", "tracks"]}


class Held(NamedTuple):
    """What a process holds after so many videos, in bytes: all of it, and what is its own alone (no files)."""

    videos: int
    resident: int
    own: int


def drawn(count: int, folder: Path, store: AssetStore, models: str) -> list[SceneSpec]:
    """``count`` specs, the presets in turn, two without and two with passes."""
    catalog = open_catalog(folder, models, store)
    kinds = [
        list(draw_scenes(preset_config(preset, -(-count // 4), seed, TINY | more), catalog))
        for seed, more in enumerate(({}, ALL_PASSES))
        for preset in PRESETS
    ]
    return [spec for specs in zip(*kinds, strict=True) for spec in specs][:count]


def slope(held: list[Held]) -> float:
    """Bytes a video by which the process's own memory grows: the line through the second half."""
    videos, own = np.array([(each.videos, each.own) for each in held[len(held) // 2 :]], float).T
    return float(np.polyfit(videos, own, 1)[0])


def main() -> None:
    """Render, look, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", default="procedural", help="procedural, or the name of an installed pack")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-memory"))
    parser.add_argument("--videos", type=int, default=300)
    parser.add_argument("--every", type=int, default=25)
    arguments = parser.parse_args()
    if arguments.videos < 4 * arguments.every:
        raise InputError(f"{arguments.videos} videos are too few for a slope: look more often with --every")
    folder, store = arguments.folder / arguments.assets, AssetStore()
    held: list[Held] = []
    with BlenderProcess(folder / "blender.log") as blender:
        for number, spec in enumerate(drawn(arguments.videos, folder, store, arguments.assets), start=1):
            staged = folder / "staged.h5"
            list(blender.run(render_job(spec, store, folder, staged)))
            staged.unlink()
            if number % arguments.every == 0:
                assert blender.pid is not None
                now = memory(blender.pid)
                held.append(Held(number, now["VmRSS"], now["RssAnon"]))
                console.print(
                    f"after {number:4d} videos: {now['VmRSS'] / MIB:.0f} MiB resident, {now['RssAnon'] / MIB:.0f} its "
                    f"own, {now['VmHWM'] / MIB:.0f} at most"
                )
    console.print(f"{slope(held) * 100 / MIB:+.2f} MiB of its own in 100 videos, over the second half")


if __name__ == "__main__":
    main()
