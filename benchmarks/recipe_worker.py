"""Blender's side of the benchmark: ``python -m benchmarks.recipe_worker JOB.json`` does one job in one process.

Two jobs, both with no help from the product's engine, which is what is measured against them: "recipe" renders a video
the published way (see `benchmarks.recipe`), "reference" one frame with very many samples.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"  # before OpenCV is imported

import bpy
import cv2
import numpy as np
from PIL import Image

from assets.store import AssetStore
from blender_scenes.blender.build import BuiltScene, build_scene, pose_scene
from blender_scenes.geometry import SceneGeometry
from blender_scenes.spec import SceneSpec
from vosforge.seeding import rng_for

PALETTE = [channel for n in range(256) for channel in (n * 37 % 256, n * 91 % 256, n * 151 % 256)]


def open_scene(job: dict[str, Any]) -> BuiltScene:
    """The scene of the job's spec, with what its two ways of rendering have in common."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    spec = SceneSpec.model_validate_json(job["spec"])
    store = AssetStore(Path(job["store"]))
    built = build_scene(SceneGeometry.load(spec, store), store)
    scene = built.scene
    for obj in [obj for obj in scene.objects if obj.type == "MESH" and not obj.visible_camera]:
        bpy.data.objects.remove(obj)  # what no ray sees is there for the sake of the product's engine
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = spec.render.width, spec.render.height
    scene.render.resolution_percentage = 100
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    # Plain sRGB without dithering: what every way of rendering is compared in.
    scene.view_settings.view_transform, scene.render.dither_intensity = "Standard", 0.0
    scene.cycles.device = "CPU"
    scene.cycles.use_adaptive_sampling = scene.cycles.use_denoising = False
    scene.cycles.max_bounces = job["max_bounces"]
    scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
    scene.cycles.samples = job["samples"]
    return built


def reference(job: dict[str, Any]) -> dict[str, Any]:
    """Render frame ``job["frame"]`` with ``job["seed"]`` into the linear EXR file ``job["out"]``."""
    built = open_scene(job)
    pose_scene(built, job["frame"])
    built.scene.cycles.seed = job["seed"]
    image = built.scene.render.image_settings
    image.file_format, image.color_mode, image.color_depth, image.exr_codec = "OPEN_EXR", "RGB", "32", "ZIP"
    before = time.process_time()
    _write(built.scene, Path(job["out"]))
    return {"cpu": time.process_time() - before}


def recipe(job: dict[str, Any]) -> dict[str, Any]:
    """Render ``job["frames"]`` into ``JPEGImages`` and ``Annotations`` below ``job["out"]``; seconds of each pass.

    The frames are kept in ``lossless`` as PNG as well, off the clock.
    """
    out = Path(job["out"])
    temporary = out / "temporary"
    for folder in (temporary, out / "JPEGImages", out / "Annotations", out / "lossless"):
        folder.mkdir(parents=True, exist_ok=True)
    built = open_scene(job)
    spec = SceneSpec.model_validate_json(job["spec"])
    scene, frames = built.scene, job["frames"]
    scene.render.use_persistent_data = job["persistent_data"]
    seeds = rng_for(spec.seed, "cycles", spec.index, spec.attempt).integers(2**31, size=built.frames)
    if job["denoise"]:
        _denoise_in_compositor(scene, job["denoiser_quality"], job["denoiser_prefilter"])
    image = scene.render.image_settings
    pose_scene(built, frames[0])
    scene.cycles.samples = 1
    _write(scene, temporary / "first")  # whatever is set up once
    scene.cycles.samples = job["samples"]
    started = {"cpu": time.process_time(), "wall": time.time() - job["started"]}

    def rgb(t: int) -> None:
        pose_scene(built, t)
        scene.cycles.seed = int(seeds[t])
        scene.update_tag()
        image.file_format, image.color_mode, image.quality = "JPEG", "RGB", job["jpeg_quality"]
        _write(scene, temporary / f"{t:04d}.jpg")
        shutil.copyfile(temporary / f"{t:04d}.jpg", out / "JPEGImages" / f"{t:05d}.jpg")

    def keep(t: int) -> None:
        image.file_format, image.color_depth = "PNG", "8"
        bpy.data.images["Render Result"].save_render(str(out / "lossless" / f"{t:05d}.png"), scene=scene)

    def mask(t: int) -> None:
        pose_scene(built, t)
        _write(scene, temporary / f"seg_{t:04d}.exr")
        values = cv2.imread(str(temporary / f"seg_{t:04d}.exr"), cv2.IMREAD_UNCHANGED)
        ids = Image.fromarray(np.round(values[:, :, 2]).astype(np.uint8), mode="P")
        ids.putpalette(PALETTE)
        ids.save(temporary / f"seg_{t:04d}.png")
        shutil.copyfile(temporary / f"seg_{t:04d}.png", out / "Annotations" / f"{t:05d}.png")

    colours = _timed(frames, rgb, keep)
    before = time.process_time(), time.time()
    _colour_by_instance(scene)
    started["cpu"] += time.process_time() - before[0]
    started["wall"] += time.time() - before[1]
    masks = _timed(frames, mask)
    shutil.rmtree(temporary)
    return {"start": started, "rgb": colours, "mask": masks}


def _timed(
    frames: list[int], work: Callable[[int], None], after: Callable[[int], None] | None = None
) -> list[dict[str, float]]:
    """CPU and wall seconds of ``work`` on each frame; ``after`` is not counted."""
    seconds = []
    for t in frames:
        cpu, wall = time.process_time(), time.perf_counter()
        work(t)
        seconds.append({"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall})
        if after is not None:
            after(t)
    return seconds


def _write(scene: bpy.types.Scene, path: Path) -> None:
    """Render what stands in Blender into ``path``, whole or not at all."""
    scene.render.use_file_extension = False
    unfinished = path.with_name(f"unfinished-{path.name}")
    scene.render.filepath = str(unfinished)
    bpy.ops.render.render(write_still=True)
    unfinished.replace(path)


def _denoise_in_compositor(scene: bpy.types.Scene, quality: str, prefilter: str) -> None:
    """Intel's denoiser as a compositor node, guided by the diffuse colour and the normals."""
    layer = scene.view_layers[0]
    layer.use_pass_normal = layer.use_pass_diffuse_color = True
    tree = bpy.data.node_groups.new("denoise", "CompositorNodeTree")
    tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    layers, node = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeDenoise")
    output = tree.nodes.new("NodeGroupOutput")
    node.inputs["HDR"].default_value = True
    node.inputs["Quality"].default_value, node.inputs["Prefilter"].default_value = quality, prefilter
    tree.links.new(layers.outputs["Image"], node.inputs["Image"])
    tree.links.new(layers.outputs["Diffuse Color"], node.inputs["Albedo"])
    tree.links.new(layers.outputs["Normal"], node.inputs["Normal"])
    tree.links.new(node.outputs["Image"], output.inputs["Image"])
    scene.compositing_node_group = tree


def _colour_by_instance(scene: bpy.types.Scene) -> None:
    """Make every object shine with its instance id and the rest of the world dark, for one sharp sample a pixel."""
    for obj in scene.objects:
        if obj.type != "MESH":
            continue
        material = bpy.data.materials.new("segmentation")
        material.use_nodes = True
        nodes, links = material.node_tree.nodes, material.node_tree.links
        emission = nodes.new("ShaderNodeEmission")
        emission.inputs["Color"].default_value = (obj.pass_index, 0.0, 0.0, 1.0)
        links.new(emission.outputs["Emission"], nodes["Material Output"].inputs["Surface"])
        for slot in range(len(obj.data.materials)):
            obj.data.materials[slot] = material
    scene.world = bpy.data.worlds.new("dark")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.0
    scene.compositing_node_group = None
    scene.cycles.samples, scene.cycles.pixel_filter_type, scene.cycles.filter_width = 1, "BOX", 0.01
    image = scene.render.image_settings
    image.file_format, image.color_mode, image.color_depth = "OPEN_EXR", "RGB", "16"


JOBS = {"recipe": recipe, "reference": reference}


def main() -> None:
    """Run the job file given on the command line and write its result next to it."""
    path = Path(sys.argv[1])
    job = json.loads(path.read_text())
    path.with_suffix(".done.json").write_text(json.dumps(JOBS[job["do"]](job)))


if __name__ == "__main__":
    main()
