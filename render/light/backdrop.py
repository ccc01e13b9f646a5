"""Composites an emissive backdrop's image behind the rendered objects instead of rendering it.

A uniformly emissive plane looks the same under any light, so its image is a homography of its texture. Cycles renders
only the regions that objects can cover.
"""

from typing import Self

import cv2
import numpy as np
from scipy.spatial import ConvexHull, QhullError

from assets.store import AssetStore
from blender_scenes.geometry import SceneGeometry
from blender_scenes.spec import PlaneSpec
from render.geometry.raycast import CLIP_START
from render.light.rain import farthest
from render.light.raster import filtered, linear_light, pixel_filter

MAX_TEXELS = 2.5
"""Texels per pixel above which the texture is downscaled first."""


class Backdrop:
    """A scene's emissive backdrop as seen by the camera."""

    def __init__(self, geometry: SceneGeometry, plane: PlaneSpec, texture: np.ndarray) -> None:
        """``texture``: the plane's image, uint8 ``[H, W, 3]`` sRGB."""
        self._size, self._plane = geometry.size, plane
        self._to_camera, self._intrinsics = geometry.to_camera, geometry.K
        texels = plane.repeat * max(texture.shape[:2]) / (plane.size * self._pixels_per_metre)
        if texels > MAX_TEXELS:
            scale = MAX_TEXELS / texels
            texture = cv2.resize(texture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        self._texture = texture
        self._light = np.float32(plane.emission) * _LINEAR
        self._samples = 3 if texels <= 1.2 else 5

    @classmethod
    def of(cls, geometry: SceneGeometry, store: AssetStore) -> Self | None:
        """The backdrop of a scene, or None if it cannot be composited.

        It must be in front of all other backgrounds, always fill the frame, be in focus, and in no mirror.
        """
        spec = geometry.spec
        plane, camera = spec.backdrop, spec.camera
        alone = spec.ground is None and not (spec.walls or spec.mirrors) and spec.atmosphere is None
        if plane is None or not plane.emission or not alone or camera.lens is not None or camera.shutter:
            return None
        texture = cv2.imread(str(store.image_path(plane.texture)), cv2.IMREAD_UNCHANGED)
        if texture is None or texture.dtype != np.uint8 or texture.shape[2:] != (3,):
            return None
        backdrop = cls(geometry, plane, cv2.cvtColor(texture, cv2.COLOR_BGR2RGB))
        before = _reach(geometry) < plane.offset
        return backdrop if before and backdrop._fills_the_frame else None

    def light(self, t: int) -> np.ndarray:
        """The plane in frame ``t`` as seen by the camera: scene-linear float32 ``[H, W, 3]``.

        Each pixel averages ``_samples`` by ``_samples`` samples under Cycles' pixel filter. As in Cycles, the image is
        interpolated before it is converted to linear light.
        """
        (height, width), n = self._size, self._samples
        to_pixels = np.array([[1 / n, 0, 0.5 / n - 1], [0, 1 / n, 0.5 / n - 1], [0, 0, 1]])
        to_centres = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])  # OpenCV has pixel centres at integers
        seen = cv2.warpPerspective(
            self._texture,
            to_centres @ self._to_texture(t) @ to_pixels,
            (n * (width + 2), n * (height + 2)),  # the filter extends one pixel further
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,  # the material mirrors the image
        )
        return filtered(cv2.LUT(seen, self._light), pixel_filter(n), n)

    def _to_texture(self, t: int) -> np.ndarray:
        """The homography from the frame's pixels to the texture's (corners at integers), ``[3, 3]``."""
        plane, (height, width) = self._plane, self._texture.shape[:2]
        copy = plane.size / plane.repeat
        to_plane = np.array([[copy / width, 0, 0], [0, -copy / height, copy], [0, 0, 1]])
        to_world = np.array([[1, 0, -plane.size / 2], [0, 0, plane.offset], [0, 1, -plane.size / 2]]) @ to_plane
        matrix = self._to_camera[t]
        to_camera = matrix[:3, :3] @ to_world
        to_camera[:, 2] += matrix[:3, 3]
        return np.linalg.inv(self._intrinsics[t] @ to_camera)

    @property
    def _pixels_per_metre(self) -> float:
        """Pixels per metre of the plane at the camera's closest approach, by its longest focal length."""
        distance = self._plane.offset - np.linalg.inv(self._to_camera)[:, 1, 3].max()
        return float(self._intrinsics[:, 0, 0].max() / max(distance, CLIP_START))

    @property
    def _fills_the_frame(self) -> bool:
        """Whether the plane fills every frame behind the objects."""
        plane, (height, width) = self._plane, self._size
        to_world = np.linalg.inv(self._to_camera)
        corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]])
        rays = corners @ (to_world[:, :3, :3] @ np.linalg.inv(self._intrinsics)).swapaxes(1, 2)
        origins = to_world[:, None, :3, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (plane.offset - origins[..., 1]) / rays[..., 1]
            hits = origins + distance[..., None] * rays
        inside = (distance > 0) & (np.abs(hits[..., [0, 2]]) <= plane.size / 2).all(axis=-1)
        return bool(inside.all())


def _reach(geometry: SceneGeometry) -> float:
    """The largest y that anything but the planes ever reaches, rain included, metres."""
    others = [light.location[1] + light.radius for light in geometry.spec.lights]  # Cycles' lights are spheres
    if geometry.spec.rain is not None:
        others.append(farthest(geometry)[1])
    return max([*(_reach_of(geometry, number) for number in geometry.numbers), *others], default=-np.inf)


def _reach_of(geometry: SceneGeometry, number: int) -> float:
    if geometry.items[number - 1].rigid:
        shapes = [_hull(geometry.shaped(number, 0.0))]
    else:
        shapes = [_box(geometry.shaped(number, u)) for u in np.linspace(0.0, 1.0, geometry.frames)]
    poses = geometry.poses[number - 1][1]
    return float((np.stack(shapes) @ poses[:, 1, :3, None] + poses[:, 1, None, 3:]).max())


def _hull(points: np.ndarray) -> np.ndarray:
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:  # a flat mesh
        return _box(points)


def _box(points: np.ndarray) -> np.ndarray:
    low, high = points.min(axis=0), points.max(axis=0)
    return np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(8, 3).astype(float)


_LINEAR = linear_light(np.arange(256) / 255)
