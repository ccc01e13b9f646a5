"""Noise-free surface colours (albedo) and coverage of a frame, from a supersampled rasteriser; no Blender.

Only lighting is noisy. Coverage and texture lookups follow from the scene alone.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from assets.prepared import MATT, SPECULAR, Material
from assets.store import AssetStore
from blender_scenes.geometry import SceneGeometry, moved, plane_corners
from blender_scenes.object_spec import Patch
from blender_scenes.spec import PlaneSpec
from render.geometry.surfaces import HALVES, lamp_box, materials_shown, plane_triangles
from render.light.raster import (
    BY_BOX,
    BY_MIRRORED_UV,
    BY_UV,
    LEVELS,
    NOTHING,
    PLAIN,
    Images,
    Painted,
    draw_triangles,
    filtered,
    linear_light,
    paint,
    pixel_filter,
)
from vosforge.videos.codec import Region

GRID = 4
"""Samples per pixel on each axis."""

CornersOf = Callable[[int], tuple[np.ndarray | None, np.ndarray]]
"""From an object's number (from 1) to data that only Blender has: corner UVs, possibly generated, float32
``[F, 3, 2]``, and shading normals ``[F, 3, 3]`` in mesh axes, of its shape in the current frame."""


class Shown(NamedTuple):
    """The surfaces in a region of a frame, filtered by Cycles' pixel filter."""

    reflectance: np.ndarray
    """float32 ``[h, w, 3]``: diffuse colour plus specular reflectance, times coverage."""
    coverage: np.ndarray
    """float32 ``[h, w]``: the fraction of the pixel covered by surfaces."""
    known: np.ndarray
    """bool ``[h, w]``: whether these values are exact; false at lamps and at surfaces that are not opaque."""


class Albedo:
    """Rasterises the material colours of a scene's objects and matt planes at any frame."""

    def __init__(self, geometry: SceneGeometry, store: AssetStore, corners: CornersOf) -> None:
        """Raises VOSForgeError when ``store`` lacks an image."""
        self._geometry, self._corners_of, spec = geometry, corners, geometry.spec
        self._images = _Images(store)
        looks = [self._object_looks(number, *corners(number)) for number in geometry.numbers]
        still = []
        """Static triangles: float64 ``[F, 3, 3]``, world axes."""
        for plane, facing in geometry.planes:
            if not plane.emission:  # what shines is laid under the objects
                still.append(plane_triangles(plane, facing))
                looks.append(self._plane_looks(plane, facing))
        for light in spec.lights:
            still.append(lamp_box(light))
            looks.append(_plain(len(still[-1]), 0.0))
            looks[-1].known[:] = False
        self._still = still
        self._first = np.cumsum([0, *(len(each.known) for each in looks)])
        self._looks = Painted(*(np.concatenate(parts) for parts in zip(*looks, strict=True)))
        self._bending = [
            number
            for number, item in enumerate(geometry.items, start=1)
            if item.texture is not None and item.wrap == "box" and not item.rigid
        ]
        """Objects whose textures are laid by normals that change with their shape."""
        self._texels = self._images.together()

    def shown(self, t: int, regions: Sequence[Region]) -> list[Shown]:
        """The surfaces of frame ``t``, current in Blender, in each of ``regions``."""
        parts = list(self._corners(t))
        for number in self._bending:
            self._looks.normal[self._first[number - 1] : self._first[number]] = self._corners_of(number)[1]
        return [self._shown(parts, self._geometry.K[t], region) for region in regions]

    def _shown(self, parts: Sequence[np.ndarray], K: np.ndarray, region: Region) -> Shown:
        origin = (region.top - 1, region.left - 1)  # the filter extends one pixel further
        size = (region.bottom - region.top + 2) * GRID, (region.right - region.left + 2) * GRID
        z, face = np.full(size, np.inf), np.full(size, NOTHING, np.int32)
        for first, corners in zip(self._first, parts, strict=False):
            draw_triangles(corners, int(first), K, origin, GRID, z, face)
        grid = np.zeros((*size, 5), np.float32)
        paint(np.concatenate(parts), self._looks, self._texels, _linear(), K, origin, GRID, face, grid)
        pixels = filtered(grid, pixel_filter(GRID), GRID)
        return Shown(pixels[:, :, :3], pixels[:, :, 3], pixels[:, :, 4] == 0)

    def _corners(self, t: int) -> Iterator[np.ndarray]:
        """The triangles of each object, plane and lamp at frame ``t``: float64 ``[F, 3, 3]``, camera axes."""
        geometry = self._geometry
        for number in geometry.numbers:
            yield geometry.vertices(number, t)[geometry.mesh(number).faces]
        for corners in self._still:
            yield moved(corners.reshape(-1, 3), geometry.to_camera[t]).reshape(-1, 3, 3)

    def _object_looks(self, number: int, uv: np.ndarray | None, normals: np.ndarray) -> Painted:
        """The appearance of an object's triangles."""
        item, mesh = self._geometry.items[number - 1], self._geometry.mesh(number)
        looks = _plain(len(mesh.faces), SPECULAR)
        if item.texture is not None:
            self._set_image(looks, slice(None), item.texture, item.patch if item.wrap == "box" else None)
            if item.wrap == "box":
                looks.kind[:] = BY_BOX
                looks.place[:] = mesh.box_places[mesh.faces]
                looks.normal[:] = normals
        else:
            materials = materials_shown(item, mesh)
            place = mesh.material_index if len(materials) > 1 else np.zeros(len(mesh.faces), np.int64)
            for which, material in enumerate(materials):
                self._set_material(looks, place == which, material)
            looks.known[:] &= item.material is not None or mesh.corner_color is None
        if uv is not None:
            by_uv = looks.kind == BY_UV
            looks.place[by_uv, :, :2] = uv[by_uv]
        return looks

    def _set_material(self, looks: Painted, here: np.ndarray, material: Material) -> None:
        if material.texture is None:
            looks.color[here] += np.array(material.base_color, np.float32)
        else:
            self._set_image(looks, here, material.texture)
        looks.known[here] &= material.alpha == 1.0 and not material.cutout

    def _set_image(self, looks: Painted, here: np.ndarray | slice, content: str, patch: Patch | None = None) -> None:
        looks.kind[here] = BY_UV
        looks.image[here], looks.known[here] = self._images.number(content, patch)

    def _plane_looks(self, plane: PlaneSpec, facing: int) -> Painted:
        looks = _plain(2, MATT)
        self._set_image(looks, slice(None), plane.texture)
        looks.kind[:] = BY_MIRRORED_UV
        looks.place[:, :, :2] = plane_corners(plane, facing)[1][HALVES]
        return looks


def _plain(faces: int, besides: float) -> Painted:
    """``faces`` black triangles with specular reflectance ``besides``."""
    return Painted(
        np.full(faces, PLAIN, np.int8),
        np.full((faces, 3), besides, np.float32),
        np.zeros(faces, np.int32),
        np.zeros((faces, 3, 3), np.float32),
        np.zeros((faces, 3, 3), np.float32),
        np.ones(faces, bool),
    )


class _Images:
    """Images, or parts of them, by content hash, each loaded once."""

    def __init__(self, store: AssetStore) -> None:
        self._store = store
        self._numbers: dict[tuple[str, Patch | None], tuple[int, bool]] = {}
        self._levels: list[list[np.ndarray]] = []

    def number(self, content: str, patch: Patch | None) -> tuple[int, bool]:
        """The image's index, and whether it is 8-bit and opaque; for others, Pillow and Cycles can disagree."""
        if (content, patch) not in self._numbers:
            with Image.open(self._store.image_path(content)) as image:
                self._numbers[content, patch] = len(self._levels), image.mode in ("RGB", "L")
                pixels = np.asarray(image.convert("RGB"))[::-1]
                self._levels.append(_levels(pixels if patch is None else patch.of(pixels)))
        return self._numbers[content, patch]

    def together(self) -> Images:
        """All images in one array."""
        levels = [level for image in self._levels for level in image] or [np.zeros((1, 1, 3), np.uint8)]
        size = np.array([level.shape[:2] for level in levels])
        start = np.cumsum(size.prod(axis=1)) - size.prod(axis=1)
        first = np.cumsum([0, *map(len, self._levels)])
        return Images(np.concatenate([level.reshape(-1, 3) for level in levels]), start, size, first)


def _levels(image: np.ndarray) -> list[np.ndarray]:
    """The mipmaps of an image uint8 ``[H, W, 3]``, down to one texel, averaged in linear light."""
    levels = [image]
    light = _linear()[np.rint(image * (LEVELS / 255)).astype(np.int64)]
    while max(light.shape[:2]) > 1:
        height, width = (max(side // 2, 1) for side in light.shape[:2])
        light = cv2.resize(light, (width, height), interpolation=cv2.INTER_AREA)
        levels.append((np.searchsorted(_linear(), light) * (255 / LEVELS) + 0.5).astype(np.uint8))
    return levels


@functools.cache
def _linear() -> np.ndarray:
    """Lookup table from sRGB in LEVELS steps to scene-linear light, float32."""
    return linear_light(np.linspace(0.0, 1.0, LEVELS + 1))
