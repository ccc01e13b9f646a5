"""The Blender engine: a spec in, frames and exact labels out, all in memory. Import it in a Blender process only.

Colours and labels come from one render of Cycles (`render.blender.cycles`), by the fast way of
`render.light.accelerated` where there is one.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import bpy
import numpy as np

from assets.store import AssetStore
from blender_scenes.blender.bare import strip_colors
from blender_scenes.blender.build import BuiltScene, build_scene, pose_scene, surroundings
from blender_scenes.blender.materials import has_holes, solid_surfaces
from blender_scenes.blender.meshes import corner_geometry
from blender_scenes.geometry import SceneGeometry
from blender_scenes.spec import AtmosphereSpec, SceneSpec
from render.blender.cycles import Cycles
from render.channels import COMBINED, DEPTH, INDEX, MIST
from render.light.accelerated import Accelerated, accelerated
from render.light.rain import Rain
from render.qualities import QUALITIES
from vosforge.seeding import rng_for

MIST_DEPTH = 1000.0
"""How far the mist pass reaches, in metres. A mean over a pixel's samples, it has no jagged edges, unlike depth."""


@dataclass(frozen=True)
class RenderedFrame:
    """One frame: its colours and labels."""

    rgb: np.ndarray | None
    """uint8 ``[H, W, 3]`` (sRGB); None without colours."""
    mask: np.ndarray
    """uint8 ``[H, W]``: instance id, 0 background."""
    seen: np.ndarray
    """uint16 ``[H, W]``: objects 1 to K, then distractors; 0 for planes and nothing."""
    depth: np.ndarray | None
    """float32 ``[H, W]``: metres along the camera's axis to the surface in ``seen``; None if no pass needs it."""


class Engine:
    """Renders scenes with Cycles inside this process."""

    def __init__(self, threads: int = 1, device: str = "cpu") -> None:
        """Arguments and errors are those of `Cycles`."""
        self.cycles = Cycles(threads, device)

    def render(self, geometry: SceneGeometry, store: AssetStore) -> Iterator[RenderedFrame]:
        """Yield the frames of ``geometry``'s scene in order.

        Raises VOSForgeError when ``store`` lacks an image or Cycles gives no pixels.
        """
        spec, cycles, built = geometry.spec, self.cycles, build_scene(geometry, store)
        if not spec.render.colors:
            yield from self._render_labels(built, store)
            return
        cycles.set_up(spec.render, f"video {spec.video_id}")
        _measure_distance(built)
        rain = None if spec.rain is None else Rain(geometry, spec.rain)
        fast = self._accelerated(built, store)
        seeds = rng_for(spec.seed, "cycles", spec.index, spec.attempt).integers(2**31, size=spec.render.frames)
        for frame, seed in enumerate(seeds):
            pose_scene(built, frame)
            cycles.seed(int(seed))
            regions = None
            if fast is not None:
                passes, regions = fast.render(frame, cycles)
            else:
                with _shutter_open(built, frame):
                    passes = cycles.render()
            sharp = passes
            if spec.camera.lens is not None or spec.camera.shutter > 0 or has_holes():
                with cycles.sharp():  # the labels are those of the frame's own instant
                    sharp = cycles.render(regions)
            linear = in_haze(spec, passes)
            if rain is not None:
                linear = rain.over(linear, sharp[DEPTH][:, :, 0], frame)
            yield _labelled(spec, exposed(linear, geometry.gains[frame]), sharp)

    def _render_labels(self, built: BuiltScene, store: AssetStore) -> Iterator[RenderedFrame]:
        """Yield the video's frames without colours: one sharp ray a pixel, nothing left to chance."""
        spec, cycles = built.geometry.spec, self.cycles
        cycles.set_up(spec.render.model_copy(update=QUALITIES["labels"]), f"video {spec.video_id}")
        fast = self._accelerated(built, store)
        strip_colors(built.scene)
        with solid_surfaces():
            for frame in range(spec.render.frames):
                pose_scene(built, frame)
                passes = cycles.render() if fast is None else fast.render(frame, cycles)[0]
                yield _labelled(spec, None, passes)

    def _accelerated(self, built: BuiltScene, store: AssetStore) -> Accelerated | None:
        """The fast way to render the scene, if there is one, with Cycles told what it leaves to it."""
        fast = accelerated(
            built.geometry,
            store,
            lambda: surroundings(built.scene.world),
            lambda number: corner_geometry(built.movers[number - 1][0]),
        )
        if fast is not None and fast.lays_background:
            backdrop = built.geometry.spec.backdrop
            self.cycles.leave_out_background(built.backdrop if backdrop and backdrop.emission else None)
        if fast is not None and fast.splits_light:
            self.cycles.split_light()
        return fast


def _measure_distance(built: BuiltScene) -> None:
    """Let Cycles give what the scene needs of the passes that say how much haze is before things, and what hides rain.

    Labels may need the latter, too (`Cycles.set_up`).
    """
    spec, layer = built.geometry.spec, built.scene.view_layers[0]
    layer.use_pass_mist = spec.atmosphere is not None
    layer.use_pass_z = layer.use_pass_z or spec.rain is not None
    mist = built.scene.world.mist_settings
    mist.start, mist.depth, mist.falloff = 0.0, MIST_DEPTH, "LINEAR"


@contextmanager
def _shutter_open(built: BuiltScene, frame: int) -> Iterator[None]:
    """Within this context, Cycles sees moving objects at shutter opening and closing, and blurs between them.

    Cycles steps through the instants itself, as frames before and after the scene's current one.
    """
    shutter = built.geometry.spec.camera.shutter
    if shutter == 0:
        yield
        return
    scene = built.scene
    current = scene.frame_current

    def pose(scene: bpy.types.Scene, _: bpy.types.Depsgraph) -> None:
        pose_scene(built, frame, 1 + int(np.sign(round(scene.frame_current_final - current, 6))))

    scene.render.use_motion_blur, scene.render.motion_blur_shutter = True, shutter
    scene.render.motion_blur_position = "CENTER"
    # Colours and normals of few samples are too noisy a guide where things are blurred.
    scene.cycles.denoising_input_passes = "RGB"
    bpy.app.handlers.frame_change_pre.append(pose)
    try:
        yield
    finally:
        bpy.app.handlers.frame_change_pre.remove(pose)
        scene.render.use_motion_blur = False
        scene.cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
        pose_scene(built, frame)


def _labelled(spec: SceneSpec, rgb: np.ndarray | None, passes: dict[str, np.ndarray]) -> RenderedFrame:
    """The frame with these colours and the labels of ``passes``."""
    seen = passes[INDEX][:, :, 0].astype(np.uint16)
    mask = np.where(seen <= len(spec.objects), seen, 0).astype(np.uint8)
    depth = passes[DEPTH][:, :, 0] if spec.render.passes else None
    return RenderedFrame(rgb=rgb, mask=mask, seen=seen, depth=depth)


def in_haze(spec: SceneSpec, passes: dict[str, np.ndarray]) -> np.ndarray:
    """The light of a frame through the scene's haze: scene-linear float32 ``[H, W, 3]``."""
    linear = passes[COMBINED][:, :, :3]
    if spec.atmosphere is None:
        return linear
    return hazed(linear, passes[MIST][:, :, 0] * MIST_DEPTH, spec.atmosphere)


def hazed(linear: np.ndarray, distance: np.ndarray, atmosphere: AtmosphereSpec) -> np.ndarray:
    """Scene-linear light ``[H, W, 3]`` seen through ``distance [H, W]`` metres of haze, float32."""
    kept = np.exp(-atmosphere.density * distance)[:, :, None].astype(np.float32)
    return linear * kept + np.array(atmosphere.color, np.float32) * (1 - kept)


def exposed(linear: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Scene-linear light ``[H, W, 3]`` under an exposure ``[3]``, as sRGB: uint8 ``[H, W, 3]``."""
    return to_srgb(linear * gains.astype(np.float32))


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Scene-linear light (float32, 1 = white) as sRGB uint8, by table, to the nearest step (IEC 61966-2-1)."""
    table = _srgb_table()
    return table[np.clip(linear * (len(table) - 1) + 0.5, 0, len(table) - 1).astype(np.uint16)]


@functools.cache
def _srgb_table() -> np.ndarray:
    x = np.linspace(0.0, 1.0, 65536)
    curve = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.round(255 * curve).astype(np.uint8)
