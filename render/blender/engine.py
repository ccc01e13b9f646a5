"""The Blender engine: a spec in, frames and exact labels out, all in memory. Import it in a Blender process only.

Colours and labels come from one Cycles render. The object-index pass is written at the pixel centre of the first
sample, so labels are exact integers at any number of samples, with or without denoising.
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np

from assets.store import AssetStore
from blender_scenes.blender.bare import strip_colors
from blender_scenes.blender.build import BuiltScene, build_scene, clear_scene, pose_scene, surroundings
from blender_scenes.blender.materials import REFLECTANCE, has_holes, solid_surfaces
from blender_scenes.blender.meshes import corner_geometry
from blender_scenes.spec import AtmosphereSpec, RenderSettings, SceneSpec
from render.farm.devices import Device, check_version, choose_device
from render.geometry.surfaces import Surfaces
from render.light.albedo import Albedo
from render.light.backdrop import Backdrop
from render.light.noise import noisy_parts
from render.light.regions import Regions, denoiser_for, enclosing
from render.light.relight import relit
from render.light.sky import Sky
from render.qualities import QUALITIES
from vosforge.errors import VOSForgeError, first_line
from vosforge.seeding import rng_for
from vosforge.videos.codec import Region

INDEX_PASS = "Object Index"
INDEX_PASSES = (INDEX_PASS, "IndexOB")
"""Its names in Blender 5 and 4.5."""
EMPTY_PASSES = {"Combined": 4, REFLECTANCE: 4, INDEX_PASS: 1, "Depth": 1}
"""Channels of passes that a frame has even where nothing is rendered."""
MIST_DEPTH = 1000.0
"""How far the mist pass reaches, in metres. A mean over a pixel's samples, it has no jagged edges, unlike depth."""

COLOR_LAYERS = 8
"""Maximum number of transparent surfaces along a ray for colours."""
MOST_LAYERS = 1024
"""The same for labels: Cycles' limit."""


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
    """Cycles in this process, with access to the pixels of each finished render."""

    def __init__(self, threads: int = 1, device: str = "cpu") -> None:
        """``device``: one of `render.farm.devices.DEVICES`.

        Raises VOSForgeError for an unsupported Blender or a missing device.
        """
        check_version(bpy.app.version)
        import cycles  # on Blender's own path, which importing bpy has just set

        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.device = choose_device(device, bpy.context.preferences.addons["cycles"].preferences)
        self._passes: dict[str, np.ndarray] = {}
        self._threads = threads
        if not hasattr(cycles.CyclesRender.render, "__wrapped__"):
            _tap(cycles.CyclesRender)
        cycles.CyclesRender.finished_passes = self._passes

    @property
    def version(self) -> str:
        """The renderer's name for the record, such as "Blender 5.0.1 Cycles CPU"."""
        return f"Blender {bpy.app.version_string} Cycles {self.device.kind}"

    def prove(self) -> None:
        """Render a bright, empty frame. Raises VOSForgeError when the device fails.

        A driver may list a card without kernels or memory for it.
        """
        clear_scene()
        scene = bpy.context.scene
        _apply(RenderSettings(width=16, height=16, samples=1), scene, self._threads, self.device)
        scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        scene.collection.objects.link(scene.camera)
        scene.world = bpy.data.worlds.new("world")
        scene.world.color = (1.0, 1.0, 1.0)
        self._passes.clear()
        reason = "the frame is black"
        try:
            bpy.ops.render.render()
        except RuntimeError as error:  # what Cycles reports
            reason = first_line(error)
        if "Combined" not in self._passes or not self._passes["Combined"][:, :, :3].any():
            kind = self.device.kind
            raise VOSForgeError(f"Cycles cannot render on {kind} ({reason}): update its driver, or use --device cpu")

    def render(self, spec: SceneSpec, store: AssetStore) -> Iterator[RenderedFrame]:
        """Yield the video's frames in order.

        Raises VOSForgeError when an asset is missing or Cycles gives no pixels.
        """
        built = build_scene(spec, store)
        if not spec.render.colors:
            yield from self._render_labels(spec, store, built)
            return
        _apply(spec.render, built.scene, self._threads, self.device)
        behind = _behind(spec, store, built)
        built.scene.render.film_transparent = behind is not None
        if behind is not None and built.backdrop is not None:
            built.backdrop.visible_camera = False  # what lies before it is still lit by it
            # Rays that meet so large a light by chance are less noisy than a share of all aimed at it, and cheaper.
            built.backdrop.data.materials[0].cycles.emission_sampling = "NONE"
        albedo, surfaces = None, Surfaces(spec, store)
        if behind is not None and splits(spec.render):
            meshes = [obj.data for obj, _ in built.movers]
            albedo = Albedo(spec, surfaces, store, lambda number: corner_geometry(meshes[number - 1]))
        twice = albedo is not None and spec.render.tolerated_noise > 0 and spec.render.samples > 1
        numbers = range(1, len(surfaces.items) + 1)
        things = Regions(surfaces, numbers, spec.render.samples, spec.lights, spec.ground)
        built.scene.cycles.use_denoising = spec.render.denoise and albedo is None
        _keep_reflectance(built.scene.view_layers[0], albedo is not None)
        built.scene.view_layers[0].use_pass_mist = spec.atmosphere is not None
        mist = built.scene.world.mist_settings
        mist.start, mist.depth, mist.falloff = 0.0, MIST_DEPTH, "LINEAR"
        seeds = rng_for(spec.seed, "cycles", spec.index, spec.attempt).integers(2**31, size=spec.render.frames)
        for frame, seed in enumerate(seeds):
            pose_scene(built, frame)
            built.scene.cycles.seed = int(seed)
            regions = None
            if behind is not None:
                regions = things.at(frame)
                if built.scene.cycles.use_denoising:  # by Cycles, which needs to see what lies around
                    regions = enclosing(regions)
            built.scene.update_tag()  # without it, persistent data keeps the previous seed
            if twice and regions is not None:
                passes = self._render_twice(spec, regions)
            else:
                with _shutter_open(built, frame):
                    passes = self._render_passes(spec, regions)
            if behind is not None and regions is not None:
                if albedo is None:
                    passes["Combined"] = laid_over(passes["Combined"], behind.light(frame))
                else:
                    shown, noisy = albedo.shown(frame, regions), (passes["Combined"], passes[REFLECTANCE])
                    seen = passes[INDEX_PASS][:, :, 0].astype(np.uint16)
                    denoiser = denoiser_for(spec.render, regions, surrounded=spec.world is not None)
                    passes["Combined"] = relit(*noisy, seen, regions, shown, behind.light(frame), denoiser)
            yield self._developed(spec, passes, regions)

    def _developed(
        self, spec: SceneSpec, passes: dict[str, np.ndarray], regions: Sequence[Region] | None
    ) -> RenderedFrame:
        linear = passes["Combined"][:, :, :3]
        if spec.atmosphere is not None:
            linear = hazed(linear, passes["Mist"][:, :, 0] * MIST_DEPTH, spec.atmosphere)
        linear = linear * np.float32(2.0**spec.exposure)
        if spec.camera.lens is not None or spec.camera.shutter > 0 or has_holes():
            passes = self._render_sharp(spec, regions)
        return _labelled(spec, to_srgb(linear), passes)

    def _render_labels(self, spec: SceneSpec, store: AssetStore, built: BuiltScene) -> Iterator[RenderedFrame]:
        """Yield the video's frames without colours: one ray per pixel, only where objects may be.

        Deterministic: the seed does not matter.
        """
        _apply(spec.render.model_copy(update=QUALITIES["labels"]), built.scene, self._threads, self.device)
        strip_colors(built.scene)
        _keep_reflectance(built.scene.view_layers[0], False)
        # The passes tell distractors from what lies behind them, the masks do not.
        surfaces = Surfaces(spec, store)
        counts = len(surfaces.items) if spec.render.passes else len(spec.objects)
        regions = Regions(surfaces, range(1, counts + 1), rays=1)
        with solid_surfaces():
            for frame in range(spec.render.frames):
                pose_scene(built, frame)
                yield _labelled(spec, None, self._render_passes(spec, regions.at(frame)))

    def _render_sharp(self, spec: SceneSpec, regions: Sequence[Region] | None) -> dict[str, np.ndarray]:
        """Render the frame's instant through a pinhole, one sample per pixel, with surfaces opaque or absent.

        A lens scatters the very first ray in space, a shutter in time, a transparent surface by chance, and labels
        with it.
        """
        scene = bpy.context.scene
        cycles, dof = scene.cycles, scene.camera.data.dof
        samples, denoised = cycles.samples, cycles.use_denoising
        dof.use_dof, cycles.samples, cycles.use_denoising = False, 1, False
        bounces, cycles.transparent_max_bounces = cycles.transparent_max_bounces, MOST_LAYERS
        scene.update_tag()
        try:
            with solid_surfaces():
                return self._render_passes(spec, regions)
        finally:
            dof.use_dof = spec.camera.lens is not None
            cycles.transparent_max_bounces = bounces
            cycles.samples, cycles.use_denoising = samples, denoised

    def _render_twice(self, spec: SceneSpec, regions: Sequence[Region]) -> dict[str, np.ndarray]:
        """Render ``regions`` with half of the samples, then noisy parts with the other half.

        Cycles' samples are one sequence: where both halves are taken, all of it is.
        """
        scene, count = bpy.context.scene, spec.render.samples
        first = -(-count // 2)
        _take(scene, range(first), count)
        passes = self._render_passes(spec, regions)
        linear = passes["Combined"], passes[REFLECTANCE]
        noisy = noisy_parts(*linear, regions, 2.0**spec.exposure, spec.render.tolerated_noise)
        _take(scene, range(first, count), count)
        for region, more in self._render_parts(spec, noisy):
            for name in ("Combined", REFLECTANCE):
                part = passes[name][region.top : region.bottom, region.left : region.right]
                part += np.float32(1 - first / count) * (more[name] - part)
        _take(scene, range(count), count)
        return passes

    def _render_passes(self, spec: SceneSpec, regions: Sequence[Region] | None = None) -> dict[str, np.ndarray]:
        """Render the current Blender scene: each pass as float32 ``[H, W, channels]``, top row first.

        Only ``regions`` are rendered; the rest is 0.
        """
        size = spec.render.height, spec.render.width
        if regions is None:
            bpy.context.scene.render.use_border = False
            return self._render(spec)
        whole = {name: np.zeros((*size, channels), np.float32) for name, channels in EMPTY_PASSES.items()}
        for region, passes in self._render_parts(spec, regions):
            for name, part in passes.items():
                if name not in whole:
                    whole[name] = np.zeros((*size, part.shape[2]), np.float32)
                whole[name][region.top : region.bottom, region.left : region.right] = part
        return whole

    def _render_parts(
        self, spec: SceneSpec, regions: Sequence[Region]
    ) -> Iterator[tuple[Region, dict[str, np.ndarray]]]:
        """Yield each of ``regions`` with its passes."""
        height, width = spec.render.height, spec.render.width
        render = bpy.context.scene.render
        render.use_border = render.use_crop_to_border = True
        for region in regions:
            # A quarter of a pixel inside, so that no rounding moves an edge.
            render.border_min_x, render.border_max_x = ((x + 0.25) / width for x in (region.left, region.right))
            render.border_max_y, render.border_min_y = (1 - (y - 0.25) / height for y in (region.top, region.bottom))
            yield region, self._render(spec)

    def _render(self, spec: SceneSpec) -> dict[str, np.ndarray]:
        self._passes.clear()
        bpy.ops.render.render()
        if INDEX_PASS not in self._passes:
            raise VOSForgeError(f"Cycles gave no pixels for video {spec.video_id}; see the worker's Blender log")
        return dict(self._passes)


@contextmanager
def _shutter_open(built: BuiltScene, frame: int) -> Iterator[None]:
    """Within this context, Cycles sees moving objects at shutter opening and closing, and blurs between them.

    Cycles steps through the instants itself, as frames before and after the scene's current one.
    """
    if built.camera.shutter == 0:
        yield
        return
    scene = built.scene
    current = scene.frame_current

    def pose(scene: bpy.types.Scene, _: bpy.types.Depsgraph) -> None:
        pose_scene(built, frame, 1 + int(np.sign(round(scene.frame_current_final - current, 6))))

    scene.render.use_motion_blur, scene.render.motion_blur_shutter = True, built.camera.shutter
    scene.render.motion_blur_position = "CENTER"
    bpy.app.handlers.frame_change_pre.append(pose)
    try:
        yield
    finally:
        bpy.app.handlers.frame_change_pre.remove(pose)
        scene.render.use_motion_blur = False
        pose_scene(built, frame)


def _labelled(spec: SceneSpec, rgb: np.ndarray | None, passes: dict[str, np.ndarray]) -> RenderedFrame:
    """The frame with these colours and the labels of ``passes``."""
    seen = passes[INDEX_PASS][:, :, 0].astype(np.uint16)
    mask = np.where(seen <= len(spec.objects), seen, 0).astype(np.uint8)
    depth = passes["Depth"][:, :, 0] if spec.render.passes else None
    return RenderedFrame(rgb=rgb, mask=mask, seen=seen, depth=depth)


def splits(settings: RenderSettings) -> bool:
    """Whether light and colours are separated."""
    return settings.denoise and settings.denoise_light


def _behind(spec: SceneSpec, store: AssetStore, built: BuiltScene) -> Backdrop | Sky | None:
    """The background, if it can be composited instead of rendered."""
    if not spec.render.lay_backdrop:
        return None
    if splits(spec.render) and Sky.fits(spec):
        return Sky(spec, surroundings(built.scene.world))
    return Backdrop.of(spec, store)


def hazed(linear: np.ndarray, distance: np.ndarray, atmosphere: AtmosphereSpec) -> np.ndarray:
    """Scene-linear light ``[H, W, 3]`` seen through ``distance [H, W]`` metres of haze, float32."""
    kept = np.exp(-atmosphere.density * distance)[:, :, None].astype(np.float32)
    return linear * kept + np.array(atmosphere.color, np.float32) * (1 - kept)


def laid_over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Light ``above [H, W, 4]``, premultiplied by its opacity, over what lies ``below [H, W, 3]``: ``[H, W, 3]``."""
    light: np.ndarray = above[:, :, :3] + (1 - above[:, :, 3:]) * below
    return light


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Scene-linear light (float32, 1 = white) as sRGB uint8, by table, to the nearest step (IEC 61966-2-1)."""
    table = _srgb_table()
    return table[np.clip(linear * (len(table) - 1) + 0.5, 0, len(table) - 1).astype(np.uint16)]


@functools.cache
def _srgb_table() -> np.ndarray:
    x = np.linspace(0.0, 1.0, 65536)
    curve = np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.round(255 * curve).astype(np.uint8)


def _tap(engine_class: Any) -> None:
    """Make Cycles copy every pass of a finished render into ``finished_passes`` (name -> ``[H, W, channels]``)."""
    original = engine_class.render

    @functools.wraps(original)
    def render(self: Any, depsgraph: bpy.types.Depsgraph) -> None:
        original(self, depsgraph)
        result = self.get_result()
        width, height = result.resolution_x, result.resolution_y
        for item in result.layers[0].passes:
            pixels = np.empty((height, width, item.channels), np.float32)
            item.rect.foreach_get(pixels.ravel())
            name = INDEX_PASS if item.name in INDEX_PASSES else item.name
            self.finished_passes[name] = pixels[::-1]  # Blender's rows run from the bottom up

    engine_class.render = render


def _apply(settings: RenderSettings, scene: bpy.types.Scene, threads: int, device: Device) -> None:
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = settings.width, settings.height
    scene.render.resolution_percentage = 100
    scene.render.use_persistent_data = True
    scene.render.threads_mode, scene.render.threads = "FIXED", threads
    scene.view_layers[0].use_pass_object_index = True
    scene.view_layers[0].use_pass_z = bool(settings.passes)
    cycles = scene.cycles
    cycles.transparent_max_bounces = COLOR_LAYERS if settings.colors else MOST_LAYERS
    cycles.device = "GPU" if device.cards else "CPU"
    _take(scene, range(settings.samples), settings.samples)
    cycles.use_adaptive_sampling = False
    cycles.max_bounces = settings.max_bounces
    cycles.caustics_reflective = cycles.caustics_refractive = False
    if settings.denoise:
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.denoising_quality = denoiser_for(settings, None).upper()
        cycles.denoising_prefilter = "NONE"
        cycles.denoising_use_gpu = device.cards > 0


def _take(scene: bpy.types.Scene, samples: range, count: int) -> None:
    """Make Cycles take these of ``count`` samples per pixel."""
    cycles = scene.cycles
    cycles.samples, cycles.use_sample_subset = count, len(samples) < count
    cycles.sample_offset, cycles.sample_subset_length = samples.start, len(samples)
    scene.update_tag()


def _keep_reflectance(layer: bpy.types.ViewLayer, wanted: bool) -> None:
    """Enable or disable Cycles' pass of surface reflectance."""
    for aov in list(layer.aovs):
        layer.aovs.remove(aov)
    if wanted:
        aov = layer.aovs.add()
        aov.name, aov.type = REFLECTANCE, "COLOR"
