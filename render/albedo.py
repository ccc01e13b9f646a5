"""The colours of the objects' surfaces in a frame, without light, as exactly as a fine grid has them; no Blender.

What makes a rendered frame noisy is light. How much of a pixel an object covers, and which part of its texture lies
there, follows from the meshes alone.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from assets.prepared import Material
from assets.store import AssetStore
from blender_scenes.spec import SceneSpec
from render.raster import BY_BOX, BY_UV, LEVELS, NOTHING, PLAIN, Images, Painted, draw, filtered, paint, pixel_filter
from render.shards.codec import Region
from render.surfaces import Surfaces, materials_shown

GRID = 4
"""Points a pixel on each axis."""


class Shown(NamedTuple):
    """What a region of a frame shows of the objects, each pixel under Cycles' filter."""

    color: np.ndarray
    """float32 ``[h, w, 3]``: scene-linear colours, times coverage."""
    coverage: np.ndarray
    """float32 ``[h, w]``: the share of the pixel that objects cover."""
    known: np.ndarray
    """bool ``[h, w]``: whether that is all exact; not so where something is seen that is not opaque."""


GeometryOf = Callable[[int], tuple[np.ndarray | None, np.ndarray]]
"""What Blender gives the mesh of object 1 and so on beyond what is prepared: the UVs of its corners, which it may have
made, float32 ``[F, 3, 2]``, and the normals they are shaded with, ``[F, 3, 3]``, in the mesh's own axes."""


class Albedo:
    """The objects of a scene in the colours of their materials, at any of its frames."""

    def __init__(self, spec: SceneSpec, store: AssetStore, geometry: GeometryOf) -> None:
        """Raises VOSForgeError when ``store`` lacks an asset."""
        self._surfaces = Surfaces(spec, store)
        self._images = _Images(store)
        looks = [self._looks(number, *geometry(number)) for number in range(1, len(self._surfaces.items) + 1)]
        self._first = np.cumsum([0, *(len(painted.kind) for painted, _ in looks)])
        self._looks_of_all = Painted(*(np.concatenate(parts) for parts in zip(*(p for p, _ in looks), strict=True)))
        self._known = np.concatenate([known for _, known in looks])
        self._texels = self._images.together()

    def _looks(self, number: int, uv: np.ndarray | None, normals: np.ndarray) -> tuple[Painted, np.ndarray]:
        """How the triangles of an object look, and which of them are known to look so."""
        item, mesh = self._surfaces.items[number - 1], self._surfaces.mesh(number)
        faces = len(mesh.faces)
        looks = Painted(
            np.full(faces, PLAIN, np.int8),
            np.zeros((faces, 3), np.float32),
            np.zeros(faces, np.int32),
            np.zeros((faces, 3, 3), np.float32),
            np.zeros((faces, 3, 3), np.float32),
        )
        known = np.ones(faces, bool)
        if item.texture is not None:
            known[:] = self._set_image(looks, slice(None), item.texture)
            if item.wrap == "box":
                looks.kind[:] = BY_BOX
                low = mesh.vertices.min(axis=0)
                extent = np.maximum(mesh.vertices.max(axis=0) - low, 1e-6)
                looks.place[:] = ((mesh.vertices - low) / extent)[mesh.faces]
                looks.normal[:] = normals
                known &= item.deformation is None  # it would turn the normals
        else:
            materials = materials_shown(item, mesh)
            place = mesh.material_index if len(materials) > 1 else np.zeros(faces, np.int64)
            for which, material in enumerate(materials):
                here = place == which
                known[here] = self._set_material(looks, here, material)
        if uv is not None:
            looks.place[looks.kind == BY_UV, :, :2] = uv[looks.kind == BY_UV]
        return looks, known

    def _set_material(self, looks: Painted, here: np.ndarray, material: Material) -> bool:
        looks.color[here] = material.base_color
        known = True if material.texture is None else self._set_image(looks, here, material.texture)
        return known and material.alpha == 1.0 and not material.cutout

    def _set_image(self, looks: Painted, here: np.ndarray | slice, content: str) -> bool:
        looks.kind[here] = BY_UV
        looks.image[here], opaque = self._images.number(content)
        return opaque

    def shown(self, t: int, region: Region) -> Shown:
        """What frame ``t`` shows in ``region``."""
        top, left = region.top - 1, region.left - 1  # the filter reaches a pixel around
        size = (region.bottom - region.top + 2) * GRID, (region.right - region.left + 2) * GRID
        z, face = np.full(size, np.inf), np.full(size, NOTHING, np.int32)
        surfaces = self._surfaces
        corners = [
            surfaces.vertices(number, t)[surfaces.mesh(number).faces] for number in range(1, len(surfaces.items) + 1)
        ]
        for first, some in zip(self._first, corners, strict=False):
            draw(some, int(first), surfaces.K, (top, left), GRID, z, face)
        grid = np.zeros((*size, 5), np.float32)
        everything = np.concatenate(corners)
        paint(everything, self._looks_of_all, self._texels, _linear(), surfaces.K, (top, left), GRID, face, grid)
        grid[:, :, 4] = (face != NOTHING) & ~self._known[face]
        seen = filtered(grid, pixel_filter(GRID), GRID)
        return Shown(seen[:, :, :3], seen[:, :, 3], seen[:, :, 4] == 0)


class _Images:
    def __init__(self, store: AssetStore) -> None:
        self._store = store
        self._held: dict[str, tuple[int, bool]] = {}
        self._pixels: list[np.ndarray] = []

    def number(self, content: str) -> tuple[int, bool]:
        """Which image this is, and whether it is opaque and of eight bits."""
        if content not in self._held:
            with Image.open(self._store.image_path(content)) as image:
                opaque = image.mode in ("RGB", "L")
                pixels = np.asarray(image.convert("RGB"))[::-1]
            self._held[content] = len(self._pixels), opaque
            self._pixels.append(pixels)
        return self._held[content]

    def together(self) -> Images:
        pixels = self._pixels or [np.zeros((1, 1, 3), np.uint8)]
        sizes = np.array([one.shape[:2] for one in pixels])
        ends = np.cumsum(sizes.prod(axis=1))
        return Images(np.concatenate([one.reshape(-1, 3) for one in pixels]), ends - sizes.prod(axis=1), sizes)


@functools.cache
def _linear() -> np.ndarray:
    x = np.linspace(0.0, 1.0, LEVELS + 1)
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)
