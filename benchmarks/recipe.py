"""The published way of rendering BL30K, written down as configuration.

The settings are those of the generator's own code (github.com/hkchengrex/BlenderVOSRenderer, modules SimRgbRenderer,
SegMapPngRenderer, Renderer and RGBSegWriter), run by today's Blender instead of 2.82:

- 64 samples a pixel, at most 3 bounces, one render thread, nothing kept from frame to frame.
- Intel's denoiser in the compositor, guided by the diffuse colour and normal passes. Blender 2.82's node had one
  quality and did not filter its guides first: today's "High" and "None".
- JPEG by Blender at quality 98, colours subsampled 4:2:0, then copied to where it belongs.
- Masks from a render of their own: objects shine with their number, one sample, pixel filter of no width, through
  half-float EXR files into palette PNGs.
- One Blender process a video.

Left out, all to the recipe's advantage or to compare like with like: the published limit of no glossy and no
transmitted bounces (it changes the picture, and all others here show them), spatial splits in the BVH (slower to build
every frame), dithering, and Blender's idle threads, which spin: its process has a core of its own.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from assets.store import AssetStore
from blender_scenes.spec import SceneSpec
from vosforge.errors import VOSForgeError

RECIPE: dict[str, Any] = {
    "samples": 64,
    "max_bounces": 3,
    "denoise": True,
    "denoiser_quality": "High",
    "denoiser_prefilter": "None",
    "jpeg_quality": 98,
    "persistent_data": False,
}
RECIPE_WORKER = (sys.executable, "-m", "benchmarks.recipe_worker")
"""The program that does the recipe's jobs."""


def render_recipe(
    spec: SceneSpec, store: AssetStore, out: Path, frames: Sequence[int], settings: dict[str, Any] = RECIPE
) -> dict[str, Any]:
    """Render ``frames`` of a video by the recipe into ``out``, in a process of its own; CPU and wall seconds of its
    parts: "start" (the process, the scene, a first small render), and a list for each of "rgb" and "mask".

    Nothing is kept from frame to frame, so that a few frames cost what they cost within the whole video. They are kept
    as PNG besides, off the clock.
    """
    return run_worker(out, {"do": "recipe", **settings, "out": str(out), "frames": list(frames)}, spec, store)


def run_worker(
    folder: Path,
    job: dict[str, Any],
    spec: SceneSpec,
    store: AssetStore,
    *,
    idle: bool = False,
    worker: Sequence[str] = RECIPE_WORKER,
) -> dict[str, Any]:
    """Do a job of `benchmarks.recipe_worker` in a process of its own; its log lies in ``folder``.

    ``idle``: it runs when nothing else wants the processor. ``worker``: another program that does such jobs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, log = folder / "job.json", folder / "blender.log"
    path.write_text(
        json.dumps({**job, "spec": spec.model_dump_json(), "store": str(store.root), "started": time.time()})
    )
    with log.open("wb") as output:
        core = str(max(os.sched_getaffinity(0)))
        command = ["taskset", "--cpu-list", core, *worker, str(path)]
        if idle:
            command = ["nice", "-n", "19", *command]
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False).returncode
    if code:
        raise VOSForgeError(f"Blender ended with exit code {code} during '{job['do']}': see {log}")
    result: dict[str, Any] = json.loads(path.with_suffix(".done.json").read_text())
    return result
