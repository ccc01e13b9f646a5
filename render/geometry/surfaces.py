"""What rays meet of a scene, as its spec and prepared meshes have it, in the camera axes of any frame; no Blender."""

import functools
from collections.abc import Iterator

import numpy as np
from PIL import Image

from assets.prepared import SOLID, Material, PreparedMesh
from assets.store import AssetStore
from blender_scenes.geometry import SceneGeometry, mirror_pose, plane_corners
from blender_scenes.object_spec import ObjectSpec
from blender_scenes.spec import LightSpec, PlaneSpec
from render.geometry.raycast import CLIP_START, Hits, Points, cast

TOUCHES = 0.01
"""Tolerance in pixels: Blender's first sample may hit a triangle this far outside its outline."""
EXTERIOR = 1e-3
"""A triangle that a ray meets only so is taken when all others differ in depth by more than this share of it."""


class Surfaces:
    """What rays meet of a scene at any of its frames."""

    def __init__(self, geometry: SceneGeometry, store: AssetStore) -> None:
        """``store``: has the images of ``geometry``'s scene."""
        self.geometry = geometry
        self._alpha = functools.cache(lambda content: alpha_of(store, content))

    def hits(self, number: int, t: int, points: Points) -> Iterator[Hits]:
        """Where the rays of ``points`` meet object ``number`` at frame ``t``, as far as labels see it there."""
        mesh, item = self.geometry.mesh(number), self.geometry.items[number - 1]
        materials = materials_shown(item, mesh)
        for hits in cast(self.geometry.vertices(number, t), mesh.faces, points):
            if all(material.solid for material in materials):
                yield hits
            else:
                solid = self._alphas(mesh, materials, hits) > SOLID
                yield Hits(*(values[solid] for values in hits))

    def first_hits(self, number: int, t: int, points: Points) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The nearest of them: metres along z ``[N]`` (inf for none), triangles ``[N]``, weights ``[N, 3]``."""
        z, face, weights = np.full(len(points), np.inf), np.zeros(len(points), np.int64), np.zeros((len(points), 3))
        for hits in self.hits(number, t, points):
            np.minimum.at(z, hits.point, hits.z)
            first = hits.z == z[hits.point]
            face[hits.point[first]], weights[hits.point[first]] = hits.face[first], hits.weights[first]
        return z, face, weights

    def _alphas(self, mesh: PreparedMesh, materials: tuple[Material, ...], hits: Hits) -> np.ndarray:
        """How opaque a mesh is where rays meet it: float64 ``[M]``."""
        place = mesh.material_index[hits.face] if len(materials) > 1 else np.zeros(len(hits.face), np.int64)
        alphas = np.array([material.alpha for material in materials])[place]
        for number, material in enumerate(materials):
            if material.cutout and material.texture is not None:
                here = place == number
                uv = np.zeros((int(here.sum()), 2))
                if mesh.corner_uv is not None:
                    uv = np.einsum("mk,mkd->md", hits.weights[here], mesh.corner_uv[hits.face[here]])
                alpha = sampled(self._alpha(material.texture), uv)
                alphas[here] = alpha if material.cutoff is None else alpha > material.cutoff
        return alphas

    def seen_faces(self, number: int, t: int, points: Points, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which triangles of object ``number`` the rays of ``points`` meet at depth ``z [N]``, and where on them.

        Returns int64 ``[N]`` and weights of the corners, float64 ``[N, 3]``, NaN for rays that pass it by.
        """
        face, weights = np.zeros(len(points), np.int64), np.full((len(points), 3), np.nan)
        nearest = np.full(len(points), np.inf)
        for hits in cast(self.geometry.vertices(number, t), self.geometry.mesh(number).faces, points, slack=TOUCHES):
            off = abs(hits.z - z[hits.point]) + np.where(hits.weights.min(axis=1) < 0, EXTERIOR * hits.z, 0.0)
            np.minimum.at(nearest, hits.point, off)
            best = off == nearest[hits.point]
            face[hits.point[best]], weights[hits.point[best]] = hits.face[best], hits.weights[best]
        return face, weights


HALVES = [[0, 1, 2], [0, 2, 3]]
"""The corners of a plane's two triangles."""


def plane_triangles(plane: PlaneSpec, facing: int) -> np.ndarray:
    """A plane as two triangles: float64 ``[2, 3, 3]``."""
    return plane_corners(plane, facing)[0][HALVES]


def lamp_box(light: LightSpec) -> np.ndarray:
    """Bounding box of a lamp's sphere, which is visible to the camera: float64 ``[12, 3, 3]``."""
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3, indexing="ij"), axis=-1).reshape(8, 3)
    sides = [[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]]
    faces = [[side[k] for k in half] for side in sides for half in ((0, 1, 2), (0, 2, 3))]
    return np.array(light.location) + light.radius * corners[faces]


def alpha_of(store: AssetStore, content: str) -> np.ndarray:
    """The alpha channel of an image, float64 ``[h, w]`` in 0 to 1, bottom row first."""
    with Image.open(store.image_path(content)) as image:
        return np.asarray(image.convert("RGBA"))[::-1, :, 3] / 255


def sampled(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """An image ``[h, w]``, bottom row first and repeated without end, at ``uv [N, 2]``, evenly between its texels."""
    x, y = (uv * image.shape[::-1] - 0.5).T
    left, low = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    columns, rows = (
        (left % image.shape[1], (left + 1) % image.shape[1]),
        (low % image.shape[0], (low + 1) % image.shape[0]),
    )
    below, above = (image[row, columns[0]] * (1 - x + left) + image[row, columns[1]] * (x - left) for row in rows)
    return below * (1 - y + low) + above * (y - low)


def plane_depth(plane: PlaneSpec, facing: int, to_camera: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Where rays in camera axes ``[N, 3]``, one metre long along z, meet a plane: metres along z, inf where they miss.

    facing: the axis that it faces; to_camera: float64 ``[4, 4]``, world to camera.
    """
    reach = np.array([plane.size, plane.size if plane.height is None else plane.height]) / 2
    return _rectangle_depth(plane.offset, reach, facing, to_camera, rays)


def _rectangle_depth(
    offset: float, reach: np.ndarray, facing: int, to_camera: np.ndarray, rays: np.ndarray
) -> np.ndarray:
    """As `plane_depth`, of a rectangle that reaches so far ``[2]`` along its two axes, which ``to_camera`` turns."""
    rotation = to_camera[:3, :3]
    origin, directions = -rotation.T @ to_camera[:3, 3], rays @ rotation
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (offset - origin[facing]) / directions[:, facing]
        places = origin + z[:, None] * directions
        met = (abs(np.delete(places, facing, axis=1)) <= reach).all(axis=1) & (z > CLIP_START)
    return np.where(met, z, np.inf)


def plane_normal(facing: int, to_camera: np.ndarray) -> np.ndarray:
    """The direction a plane faces, in camera axes, one of the two: float64 ``[3]``."""
    return to_camera[:3, facing]


def flat_surfaces(geometry: SceneGeometry, t: int, rays: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each plane and each mirror at frame ``t``: where rays meet it, as `plane_depth`, and its normal."""
    to_camera = geometry.to_camera[t]
    for plane, facing in geometry.planes:
        yield plane_depth(plane, facing, to_camera, rays), plane_normal(facing, to_camera)
    for mirror in geometry.spec.mirrors:
        own, reach = to_camera @ mirror_pose(mirror), np.array([mirror.width, mirror.height]) / 2
        yield _rectangle_depth(0.0, reach, 1, own, rays), plane_normal(1, own)


def materials_shown(item: ObjectSpec, mesh: PreparedMesh) -> tuple[Material, ...]:
    """The materials of an object's faces, by material index (any index if there is only one)."""
    if item.texture is not None:
        return (Material(),)
    return mesh.materials if item.material is None else (item.material,)
