"""BlenderProc's side of the benchmark: ``python -m benchmarks.blenderproc_worker JOB.json``, in its environment.

The scene is the one that all ways render, built by `blender_scenes.blender.build`; poses, settings, rendering and masks
are BlenderProc's. Its command line would fetch a Blender of its own; here it uses the module bpy, for which it has no
switch: it is imported as its own helper processes import it, and initialised but for the language, which bpy lacks.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OUTSIDE_OF_THE_INTERNAL_BLENDER_PYTHON_ENVIRONMENT_BUT_IN_RUN_SCRIPT"] = "1"  # before it is imported

import bpy
import numpy as np
from blenderproc.api import camera, renderer
from blenderproc.python.types.EntityUtility import Entity
from blenderproc.python.utility.Initializer import _Initializer, clean_up
from blenderproc.python.utility.SetupUtility import SetupUtility
from blenderproc.python.utility.Utility import reset_keyframes, set_keyframe_render_interval
from mathutils import Matrix

from assets.store import AssetStore
from blender_scenes.blender.build import BuiltScene, build_scene
from blender_scenes.geometry import SceneGeometry
from blender_scenes.spec import SceneSpec


def open_scene(job: dict[str, Any]) -> BuiltScene:
    """The scene of the job's spec, every frame of it posed, and the job's settings."""
    clean_up(clean_up_camera=True)
    renderer.set_render_devices(use_only_cpu=True)
    _Initializer.set_default_parameters()
    spec = SceneSpec.model_validate_json(job["spec"])
    store = AssetStore(Path(job["store"]))
    built = build_scene(SceneGeometry.load(spec, store), store)
    scene = built.scene
    for obj in [obj for obj in scene.objects if obj.type == "MESH" and not obj.visible_camera]:
        bpy.data.objects.remove(obj)  # what no ray sees is there for the sake of the product's engine
    for thing in (scene.world, *(obj for obj in scene.objects if obj.type == "MESH")):
        thing["category_id"] = getattr(thing, "pass_index", 0)
    camera.set_resolution(spec.render.width, spec.render.height)
    reset_keyframes()
    for obj, poses in built.movers:
        for t, pose in enumerate(poses[1].tolist()):
            if obj is scene.camera:
                camera.add_camera_pose(pose, t)
                continue
            place, turn, size = Matrix(pose).decompose()
            entity = Entity(obj)
            entity.set_location(place, t)
            entity.set_rotation_mat(turn.to_matrix(), t)
            entity.set_scale(size, t)
    renderer.set_cpu_threads(1)
    renderer.set_noise_threshold(0)
    renderer.set_denoiser("INTEL")
    bounces = job["max_bounces"]
    renderer.set_light_bounces(bounces, bounces, 0, bounces, bounces, 8, 0)
    renderer.toggle_light_tree(True)
    renderer.set_output_format("JPEG", 8, False, job["jpeg_quality"], "Standard")
    # What its interface has no words for, as the references have it.
    scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
    scene.render.dither_intensity = 0.0
    return built


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Render the video into ``colours`` and ``masks`` below ``job["out"]``; seconds of a frame of each, and "once"."""
    out = Path(job["out"])
    (out / "masks").mkdir(exist_ok=True)
    SetupUtility.setup_utility_paths(str(out / "temporary"))
    frames = open_scene(job).frames
    renderer.set_max_amount_of_samples(1)
    set_keyframe_render_interval(0, 1)
    renderer.render(str(out / "first"), output_key=None, return_data=False)  # whatever is set up once
    renderer.set_max_amount_of_samples(job["samples"])
    set_keyframe_render_interval(0, frames)
    once = np.array([time.process_time(), time.time() - job["started"]])
    rgb, more = _timed(frames, lambda: renderer.render(str(out / "colours"), return_data=False))
    once += more
    mask, more = _timed(frames, lambda: renderer.render_segmap(str(out / "masks"), map_by="class", output_key="masks"))
    kinds = {"once": once + more, "rgb": rgb, "mask": mask}
    blender = {"blender": bpy.app.version_string}
    return blender | {
        kind: dict(zip(("cpu", "wall"), seconds.tolist(), strict=True)) for kind, seconds in kinds.items()
    }


def _timed(frames: int, render: Callable[[], object]) -> tuple[np.ndarray, np.ndarray]:
    """CPU and wall seconds, ``[2]``, of a frame that ``render`` renders, and of what it does once.

    What follows the last frame grows with their number.
    """
    stamps: list[np.ndarray] = []

    def now(*_: object) -> None:
        stamps.append(np.array([time.process_time(), time.perf_counter()]))

    now()
    bpy.app.handlers.render_write.append(now)
    render()
    bpy.app.handlers.render_write.remove(now)
    now()
    begin, first, *_, last, end = stamps
    frame = (last - first) / (frames - 1)
    return frame + (end - last) / frames, first - begin - frame


def main() -> None:
    """Run the job file given on the command line and write its result next to it."""
    path = Path(sys.argv[1])
    path.with_suffix(".done.json").write_text(json.dumps(work(json.loads(path.read_text()))))
    os._exit(0)  # what BlenderProc undoes after the masks makes the module bpy crash when it is unloaded


if __name__ == "__main__":
    main()
