"""Where in a frame things can be seen at all: the boxes around them, so that nothing else need be rendered."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from assets.store import AssetStore
from blender_scenes.spec import LightSpec, ObjectSpec, SceneSpec
from blender_scenes.trajectories import camera_poses, deformed, intrinsics, object_poses
from render.shards.codec import Region

NEAR = 0.01
"""Metres: what is nearer to the camera's plane has no bounded place in the image."""
MARGIN = 2
"""Pixels around what things cover that their antialiased rims and a denoiser may touch."""


class Regions:
    """The parts of a video's frames in which some of its objects, and some lights, can be seen."""

    def __init__(
        self, spec: SceneSpec, store: AssetStore, items: Sequence[ObjectSpec], lights: Sequence[LightSpec] = ()
    ) -> None:
        """``items`` and ``lights`` are some of those of ``spec``. Raises VOSForgeError when ``store`` lacks a mesh."""
        settings = spec.render
        self._size = settings.height, settings.width
        self._to_camera = camera_poses(spec.camera, settings.frames)
        self._intrinsics = intrinsics(spec.camera, settings.width, settings.height)
        spheres = [_box(np.add(light.location, [[-light.radius], [light.radius]])) for light in lights]
        self.around = [
            *(_around(item, store, settings.frames) for item in items),
            *(np.tile(sphere, (settings.frames, 1, 1)) for sphere in spheres),
        ]
        """For each of them points in the world, ``[T, N, 3]``, whose convex hull it is inside of."""

    def at(self, t: int) -> list[Region]:
        """The parts of frame ``t`` outside of which nothing of them is seen; no two of them overlap."""
        seen: list[Region] = []
        for points in self.around:
            region = self._region(points[t] @ self._to_camera[t, :3, :3].T + self._to_camera[t, :3, 3])
            if region is not None:
                seen = _with(seen, region)
        return seen

    def _region(self, points: np.ndarray) -> Region | None:
        """The part of a frame that the convex hull of ``points [N, 3]`` (camera frame) can touch; None for none."""
        height, width = self._size
        if (points[:, 2] <= NEAR).all():
            return None
        if (points[:, 2] <= NEAR).any():
            return Region(0, 0, height, width)
        seen = points @ self._intrinsics.T
        seen = seen[:, :2] / seen[:, 2:]
        low = np.maximum(np.floor(seen.min(axis=0)) - MARGIN, 0)
        high = np.minimum(np.ceil(seen.max(axis=0)) + MARGIN, [width, height])
        if (low >= high).any():
            return None
        (left, top), (right, bottom) = low.astype(int).tolist(), high.astype(int).tolist()
        return Region(top, left, bottom, right)


def _around(item: ObjectSpec, store: AssetStore, frames: int) -> np.ndarray:
    """The corners of an object's convex hull in the world, or of a box around what changes its shape: ``[T, N, 3]``."""
    vertices, how = store.mesh(item.mesh).vertices.astype(np.float64), item.deformation
    if how is None:
        shapes = [_hull(vertices)]
    else:
        shapes = [_box(deformed(vertices, how, u)) for u in np.linspace(0.0, 1.0, frames)]
    poses = object_poses(item, frames)
    return np.stack(shapes) @ poses[:, :3, :3].swapaxes(1, 2) + poses[:, None, :3, 3]


def _hull(points: np.ndarray) -> np.ndarray:
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:  # it is flat
        return _box(points)


def _box(points: np.ndarray) -> np.ndarray:
    low, high = points.min(axis=0), points.max(axis=0)
    return np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(8, 3).astype(float)


def _with(regions: list[Region], more: Region) -> list[Region]:
    """``regions``, of which no two overlap, and ``more``: those that overlap it become one with it."""
    while True:
        touched = [one for one in regions if _overlap(one, more)]
        if not touched:
            return [*regions, more]
        regions = [one for one in regions if one not in touched]
        tops, lefts, bottoms, rights = zip(more, *touched, strict=True)
        more = Region(min(tops), min(lefts), max(bottoms), max(rights))


def _overlap(one: Region, other: Region) -> bool:
    rows = one.top < other.bottom and other.top < one.bottom
    return rows and one.left < other.right and other.left < one.right
