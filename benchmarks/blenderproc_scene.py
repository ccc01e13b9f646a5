"""What a frame of the benchmark's scenes costs in BlenderProc 2.8, at the settings of the published recipe.

    python -m benchmarks.blenderproc_scene --python PATH [--assets sweethome3d] [--scenes 10pc-1] [--out FOLDER]

It is optional, and needs an environment of its own, whose Python is named with ``--python`` (see `SETUP`). Scenes and
references are those of `benchmarks.rendering`, which is run before. Costs are counted as there, and the recipe is
measured beside it. Meshes, materials, lights, camera, poses, 64 samples, bounces, light tree, JPEG quality and one
thread are the same. The rest is as BlenderProc has it: Intel's denoiser with filtered guides, search trees with spatial
splits, data kept from frame to frame, and masks from its `render_segmap`, as numpy files.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from assets.store import AssetStore
from benchmarks.recipe import RECIPE, run_worker
from benchmarks.references import References, to_srgb
from benchmarks.rendering import FRAMES, JUDGED, Cost, Measured, judge, measure_recipe
from benchmarks.scenes import VIDEO_FRAMES, BenchScene, open_catalog, open_scenes
from benchmarks.tables import result_table
from vosforge.log import console

SETUP = (
    "python3.11 -m venv VENV && VENV/bin/pip install blenderproc==2.8.0 bpy==4.2.0 'numpy<2' "
    "'opencv-contrib-python<4.12' gitpython imageio networkx pydantic rich scipy trimesh"
)
"""How BlenderProc is installed with the Blender it was made for, as a module, and what it fetches on its first run."""


def measure_blenderproc(
    python: Path, scene: BenchScene, store: AssetStore, out: Path, frame: int
) -> tuple[Measured, np.ndarray]:
    """BlenderProc on a stretch, in a process of its own; also its mask of ``frame``, ``[H, W]``."""
    job = {"do": "BlenderProc", **RECIPE, "out": str(out.resolve())}
    found = run_worker(out, job, scene.spec, store, worker=(str(python), "-m", "benchmarks.blenderproc_worker"))
    cost = Cost(
        *(found["once"][kind] / VIDEO_FRAMES + found["rgb"][kind] + found["mask"][kind] for kind in Cost._fields)
    )
    colours, masks = (sorted((out / name).glob(f"*.{kind}")) for name, kind in (("colours", "jpg"), ("masks", "npy")))
    colour_bytes, mask_bytes = (statistics.mean(path.stat().st_size for path in paths) for paths in (colours, masks))
    picture = cv2.imread(str(colours[frame]))[..., ::-1]
    return Measured(cost, colour_bytes, mask_bytes, (picture,)), np.load(masks[frame])


def check_environment(python: Path) -> str:
    """The versions of BlenderProc and bpy that ``python`` has. Exits with the remedy where it lacks them."""
    code = "from importlib.metadata import version as v; print('BlenderProc', v('blenderproc'), 'with bpy', v('bpy'))"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        sys.exit(f"{python} has no BlenderProc: {SETUP}, then add --python VENV/bin/python")
    return done.stdout.strip()


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, default=Path("python3.11"), help="the Python that has BlenderProc")
    parser.add_argument("--assets", default="sweethome3d", help="procedural, or the name of an installed pack")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-render"), help="that of benchmarks.rendering")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-blenderproc"))
    parser.add_argument("--size", default="768x512")
    parser.add_argument("--scenes", default="10pc-1", help="names of some of the scenes, by commas")
    arguments = parser.parse_args()
    console.print(check_environment(arguments.python))
    width, height = (int(side) for side in arguments.size.split("x"))
    folder, store, frame = arguments.folder / arguments.assets, AssetStore(), JUDGED[0]
    catalog = open_catalog(folder, arguments.assets, store)
    scenes = open_scenes(folder, store, catalog, draws=60, size=(width, height), frames=FRAMES)
    kept = References(arguments.folder / "references", 1024)
    rows: list[dict[str, Any]] = []
    for scene in scenes:
        if scene.name not in arguments.scenes.split(","):
            continue
        known = not kept.missing(scene.spec, frame)
        references = [to_srgb(kept.open_chunks(scene.spec, frame).mean(axis=0))] if known else []
        out = arguments.out / scene.name
        recipe = measure_recipe(scene, store, out / "recipe", [frame])["recipe"]
        ours = np.array(Image.open(out / "recipe" / "Annotations" / f"{frame:05d}.png"))
        theirs, mask = measure_blenderproc(arguments.python, scene, store, out / "blenderproc", frame)
        for way, one in (("recipe", recipe), ("BlenderProc", theirs)):
            row: dict[str, Any] = {"group": scene.group, "scene": scene.name, "way": way}
            row |= {"cpu": one.cost.cpu, "cpu_all": [one.cost.cpu], "wall": one.cost.wall}
            row |= {"colour_bytes": one.colour_bytes, "mask_bytes": one.mask_bytes}
            rows.append(row | judge(one.frames, references))
        console.print(f"{scene.name}: {(mask != ours).sum()} of {mask.size} pixels have another label in the two masks")
    console.print(result_table(rows))
    (arguments.out / "figures.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
