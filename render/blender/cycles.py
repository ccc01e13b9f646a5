"""Cycles inside this process: settings in, the pixels of each render out. Import it in a Blender process only.

It knows nothing of scenes: it renders what stands in Blender. The object-index pass is written at the pixel centre of
the first sample, so labels are exact integers at any number of samples, with or without denoising.
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import bpy
import numpy as np

from assets.prepared import REFLECTANCE
from blender_scenes.blender.build import clear_scene
from blender_scenes.blender.materials import solid_surfaces
from blender_scenes.spec import RenderSettings
from render.channels import COMBINED, DEPTH, INDEX
from render.farm.devices import check_version, cycles_device
from vosforge.errors import VOSForgeError, first_line
from vosforge.videos.codec import Region

INDEX_PASSES = (INDEX, "IndexOB")
"""What Blender 5 and Blender 4.5 call it."""
EMPTY_PASSES = {COMBINED: 4, REFLECTANCE: 4, INDEX: 1, DEPTH: 1}
"""The channels of what a frame has even where nothing is rendered."""

COLOR_LAYERS = 8
"""So many transparent surfaces a ray for colours passes through."""
MAX_LAYERS = 1024
"""So many one for labels: the most that Cycles knows."""


class Cycles:
    """Cycles, with a tap on the pixels of each finished render."""

    def __init__(self, threads: int = 1, device: str = "cpu") -> None:
        """``device``: one of `render.farm.devices.DEVICES`.

        Raises VOSForgeError for a Blender that is not supported, and where there is no such device.
        """
        check_version(bpy.app.version)
        import cycles  # on Blender's own path, which importing bpy has just set

        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.device = cycles_device(device, bpy.context.preferences.addons["cycles"].preferences)
        self._passes: dict[str, np.ndarray] = {}
        self._threads = threads
        self._subject = "a frame"
        if not hasattr(cycles.CyclesRender.render, "__wrapped__"):
            _tap(cycles.CyclesRender)
        cycles.CyclesRender.finished_passes = self._passes

    @property
    def version(self) -> str:
        """What renders, for the record: "Blender 5.0.1 Cycles CPU", or OPTIX and so on."""
        return f"Blender {bpy.app.version_string} Cycles {self.device.kind}"

    def prove(self) -> None:
        """Render a bright, empty frame. Raises VOSForgeError when the device gives none.

        A driver may list a card that it then has no kernels for, or no memory.
        """
        clear_scene()
        scene = bpy.context.scene
        self.set_up(RenderSettings(width=16, height=16, samples=1), "an empty frame")
        scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
        scene.collection.objects.link(scene.camera)
        scene.world = bpy.data.worlds.new("world")
        scene.world.color = (1.0, 1.0, 1.0)
        reason = "the frame is black"
        try:
            self.pixels()
        except (RuntimeError, VOSForgeError) as error:  # what Cycles reports
            reason = first_line(error)
        if COMBINED not in self._passes or not self._passes[COMBINED][:, :, :3].any():
            kind = self.device.kind
            raise VOSForgeError(f"Cycles cannot render on {kind} ({reason}): update its driver, or use --device cpu")

    def set_up(self, settings: RenderSettings, subject: str) -> None:
        """Render as ``settings`` say from now on, frames whole; ``subject`` is what errors call what is rendered."""
        self._subject = subject
        scene = bpy.context.scene
        scene.render.engine = "CYCLES"
        scene.render.resolution_x, scene.render.resolution_y = settings.width, settings.height
        scene.render.resolution_percentage = 100
        scene.render.film_transparent = False
        scene.render.use_persistent_data = True
        scene.render.threads_mode, scene.render.threads = "FIXED", self._threads
        layer = scene.view_layers[0]
        layer.use_pass_object_index, layer.use_pass_z = True, bool(settings.passes)
        for aov in list(layer.aovs):
            layer.aovs.remove(aov)
        cycles = scene.cycles
        cycles.transparent_max_bounces = COLOR_LAYERS if settings.colors else MAX_LAYERS
        cycles.device = "GPU" if self.device.cards else "CPU"
        self.take(range(settings.samples), settings.samples)
        cycles.use_adaptive_sampling = False
        cycles.max_bounces = settings.max_bounces
        cycles.caustics_reflective = cycles.caustics_refractive = False
        cycles.use_denoising = settings.denoise
        if settings.denoise:
            cycles.denoiser = "OPENIMAGEDENOISE"
            cycles.denoising_quality = "FAST" if settings.denoiser == "fast" else "HIGH"
            cycles.denoising_prefilter = "NONE"
            cycles.denoising_use_gpu = self.device.cards > 0

    def leave_out_background(self, backdrop: bpy.types.Object | None) -> None:
        """Leave what stands behind everything transparent, the surroundings and ``backdrop``."""
        bpy.context.scene.render.film_transparent = True
        if backdrop is not None:
            backdrop.visible_camera = False  # what lies before it is still lit by it
            # Rays that meet so large a light by chance are less noisy than a share of all aimed at it, and cheaper.
            backdrop.data.materials[0].cycles.emission_sampling = "NONE"

    def split_light(self) -> None:
        """Give light as noisy as it is, and what surfaces reflect as a pass of its own."""
        bpy.context.scene.cycles.use_denoising = False
        aov = bpy.context.scene.view_layers[0].aovs.add()
        aov.name, aov.type = REFLECTANCE, "COLOR"

    def take(self, samples: range, count: int) -> None:
        """From now on, take these of ``count`` samples a pixel."""
        scene = bpy.context.scene
        cycles = scene.cycles
        cycles.samples, cycles.use_sample_subset = count, len(samples) < count
        cycles.sample_offset, cycles.sample_subset_length = samples.start, len(samples)
        scene.update_tag()

    def seed(self, number: int) -> None:
        """Draw samples by this seed from now on."""
        bpy.context.scene.cycles.seed = number
        bpy.context.scene.update_tag()  # without it, persistent data keeps the previous seed

    @contextmanager
    def sharp(self) -> Iterator[None]:
        """While it lasts, see through a pinhole, one sample a pixel, surfaces that are there or not there.

        A lens scatters the very first ray in space, a transparent surface by chance, and labels with it.
        """
        scene = bpy.context.scene
        cycles, dof = scene.cycles, scene.camera.data.dof
        samples, denoised, lens = cycles.samples, cycles.use_denoising, dof.use_dof
        dof.use_dof, cycles.samples, cycles.use_denoising = False, 1, False
        bounces, cycles.transparent_max_bounces = cycles.transparent_max_bounces, MAX_LAYERS
        scene.update_tag()
        try:
            with solid_surfaces():
                yield
        finally:
            dof.use_dof = lens
            cycles.transparent_max_bounces = bounces
            cycles.samples, cycles.use_denoising = samples, denoised

    def render(self, regions: Sequence[Region] | None = None) -> dict[str, np.ndarray]:
        """Render what stands in Blender now: each pass as float32 ``[H, W, channels]``, top row first.

        ``regions``: the only parts that are rendered; the rest is 0. Raises VOSForgeError when Cycles gives no pixels.
        """
        render = bpy.context.scene.render
        if regions is None:
            render.use_border = False
            return self.pixels()
        size = render.resolution_y, render.resolution_x
        whole = {name: np.zeros((*size, channels), np.float32) for name, channels in EMPTY_PASSES.items()}
        for region, passes in self.parts(regions):
            for name, part in passes.items():
                if name not in whole:
                    whole[name] = np.zeros((*size, part.shape[2]), np.float32)
                whole[name][region.top : region.bottom, region.left : region.right] = part
        return whole

    def parts(self, regions: Sequence[Region]) -> Iterator[tuple[Region, dict[str, np.ndarray]]]:
        """Render each of ``regions`` and yield it with its passes."""
        render = bpy.context.scene.render
        height, width = render.resolution_y, render.resolution_x
        render.use_border = render.use_crop_to_border = True
        for region in regions:
            # A quarter of a pixel inside, so that no rounding moves an edge.
            render.border_min_x, render.border_max_x = ((x + 0.25) / width for x in (region.left, region.right))
            render.border_max_y, render.border_min_y = (1 - (y - 0.25) / height for y in (region.top, region.bottom))
            yield region, self.pixels()

    def pixels(self) -> dict[str, np.ndarray]:
        """Render by Blender's own settings as they are now. Raises VOSForgeError when Cycles gives no pixels."""
        self._passes.clear()
        bpy.ops.render.render()
        if INDEX not in self._passes:
            raise VOSForgeError(f"Cycles gave no pixels for {self._subject}; see the Blender log of its worker")
        return dict(self._passes)


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
            name = INDEX if item.name in INDEX_PASSES else item.name
            self.finished_passes[name] = pixels[::-1]  # Blender's rows run from the bottom up

    engine_class.render = render
