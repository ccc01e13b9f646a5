"""The entry point of everything that renders faster than plain Cycles with the same look; no Blender.

Backgrounds are composited, light is denoised without surface colours, samples go where noise is, and only rectangles
with visible geometry are rendered. `render.plain` turns all of it off.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from assets.prepared import REFLECTANCE
from assets.store import AssetStore
from blender_scenes.geometry import SceneGeometry
from blender_scenes.spec import RenderSettings
from render.channels import COMBINED, INDEX
from render.light.albedo import Albedo, CornersOf
from render.light.backdrop import Backdrop
from render.light.noise import noisy_parts
from render.light.regions import Regions, denoiser_for, enclosing
from render.light.relight import relit
from render.light.sky import Sky
from vosforge.videos.codec import Region

Passes = dict[str, np.ndarray]


class Renderer(Protocol):
    """The interface to Cycles; each call applies to the current frame in Blender."""

    def render(self, regions: Sequence[Region] | None = None) -> Passes:
        """The passes of the frame, 0 outside ``regions``."""

    def parts(self, regions: Sequence[Region]) -> Iterator[tuple[Region, Passes]]:
        """Render each of ``regions`` and yield it with its passes."""

    def take(self, samples: range, count: int) -> None:
        """Use this subset of ``count`` samples per pixel from now on."""


class Accelerated:
    """Renders the frames of one scene with the accelerations."""

    def __init__(
        self,
        geometry: SceneGeometry,
        regions: Regions,
        behind: Backdrop | Sky | None = None,
        albedo: Albedo | None = None,
    ) -> None:
        """``behind``: the background to composite; ``albedo``: surface colours, if light is denoised separately."""
        self._spec, self._gains = geometry.spec, geometry.gains
        self._regions, self._behind, self._albedo = regions, behind, albedo

    @property
    def lays_background(self) -> bool:
        """Whether Cycles should omit the background."""
        return self._behind is not None

    @property
    def splits_light(self) -> bool:
        """Whether Cycles should output noisy light and a reflectance pass."""
        return self._albedo is not None

    def render(self, t: int, cycles: Renderer) -> tuple[Passes, list[Region]]:
        """The passes of frame ``t``, current in Blender, with final colours, and the rendered regions."""
        settings, regions = self._spec.render, self._regions.at(t)
        if self._behind is None:
            return cycles.render(regions), regions
        if self._albedo is None:
            if settings.denoise:  # Cycles' denoiser needs context
                regions = enclosing(regions)
            passes = cycles.render(regions)
            passes[COMBINED] = laid_over(passes[COMBINED], self._behind.light(t))
            return passes, regions
        twice = settings.tolerated_noise > 0 and settings.samples > 1
        passes = self._rendered_twice(t, cycles, regions) if twice else cycles.render(regions)
        passes[COMBINED] = relit(
            passes[COMBINED],
            passes[REFLECTANCE],
            passes[INDEX][:, :, 0].astype(np.uint16),
            regions,
            self._albedo.shown(t, regions),
            self._behind.light(t),
            denoiser_for(settings, regions, surrounded=self._spec.world is not None),
        )
        return passes, regions

    def _rendered_twice(self, t: int, cycles: Renderer, regions: Sequence[Region]) -> Passes:
        """Render ``regions`` of frame ``t`` with half of the samples, then noisy parts with the other half.

        Both halves belong to one sequence, so they add up to the full sample set.
        """
        settings, count = self._spec.render, self._spec.render.samples
        first = -(-count // 2)
        cycles.take(range(first), count)
        passes = cycles.render(regions)
        linear = passes[COMBINED], passes[REFLECTANCE]
        noisy = noisy_parts(*linear, regions, float(self._gains[t].max()), settings.tolerated_noise)
        cycles.take(range(first, count), count)
        for region, more in cycles.parts(noisy):
            for name in (COMBINED, REFLECTANCE):
                part = passes[name][region.top : region.bottom, region.left : region.right]
                part += np.float32(1 - first / count) * (more[name] - part)
        cycles.take(range(count), count)
        return passes


def accelerated(
    geometry: SceneGeometry, store: AssetStore, surroundings: Callable[[], np.ndarray], corners: CornersOf
) -> Accelerated | None:
    """The accelerated renderer of a scene, or None if plain Cycles is requested or no acceleration applies.

    surroundings: returns the HDRI, scene-linear float32 ``[h, w, 3]``; corners: UVs and normals from Blender.
    Raises VOSForgeError when ``store`` lacks an image.
    """
    spec, numbers = geometry.spec, geometry.numbers
    settings = spec.render
    if settings.plain:
        return None
    if not settings.colors:
        # Passes include distractors; masks treat them as background.
        labelled = numbers if settings.passes else numbers[: len(spec.objects)]
        return Accelerated(geometry, Regions(geometry, labelled, rays=1))
    behind = _behind(geometry, store, surroundings)
    if behind is None:
        return None
    albedo = Albedo(geometry, store, corners) if _splits(settings) else None
    matt = [(plane, facing) for plane, facing in geometry.planes if not plane.emission]
    regions = Regions(geometry, numbers, settings.samples, spec.lights, matt)
    return Accelerated(geometry, regions, behind, albedo)


def _behind(
    geometry: SceneGeometry, store: AssetStore, surroundings: Callable[[], np.ndarray]
) -> Backdrop | Sky | None:
    """The background, if it can be composited instead of rendered."""
    spec = geometry.spec
    if not spec.render.lay_backdrop:
        return None
    if _splits(spec.render) and Sky.fits(spec):
        return Sky(geometry, surroundings())
    return Backdrop.of(geometry, store)


def _splits(settings: RenderSettings) -> bool:
    """Whether light is denoised separately from colours."""
    return settings.denoise and settings.denoise_light


def laid_over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Composite premultiplied ``above [H, W, 4]`` over ``below [H, W, 3]``: ``[H, W, 3]``."""
    light: np.ndarray = above[:, :, :3] + (1 - above[:, :, 3:]) * below
    return light
