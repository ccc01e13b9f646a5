"""An emissive backdrop without rendering it: its image laid under what Cycles renders of everything before it.

A plane that shines evenly looks the same under any light, so what the camera sees of it is a homography of its texture.
Only the part of a frame that objects can touch is left to Cycles.
"""

from typing import Self

import cv2
import numpy as np

from assets.store import AssetStore
from blender_scenes.spec import ObjectSpec, PlaneSpec, SceneSpec
from blender_scenes.trajectories import camera_poses, deformed, intrinsics, object_poses
from render.shards.codec import Region

NEAR = 0.01
"""Metres: what is nearer to the camera's plane has no bounded place in the image."""
MARGIN = 2
"""Pixels around what the objects cover that their antialiased rims and a denoiser may touch."""
SPREAD = 0.2
"""Where the four samples of a pixel lie, in pixels from its centre on each axis: they scatter as much as the samples of
Cycles' default pixel filter do (Blackman-Harris, 1.5 pixels wide)."""


class Backdrop:
    """What the camera of a scene sees of its emissive backdrop, and where in the frame anything is before it."""

    def __init__(self, spec: SceneSpec, plane: PlaneSpec, texture: np.ndarray, store: AssetStore) -> None:
        """``texture``: the plane's image, uint8 ``[H, W, 3]`` sRGB."""
        settings = spec.render
        self._size = settings.height, settings.width
        self._plane, self._texture = plane, texture
        self._to_camera = camera_poses(spec.camera, settings.frames)
        self._intrinsics = intrinsics(spec.camera, settings.width, settings.height)
        around = [_boxes(item, store, settings.frames) for item in (*spec.objects, *spec.distractors)]
        # Cycles' lights are spheres that the camera sees.
        spheres = [_box(np.add(light.location, [[-light.radius], [light.radius]])) for light in spec.lights]
        self._boxes = [*around, *(np.tile(sphere, (settings.frames, 1, 1)) for sphere in spheres)]

    @classmethod
    def of(cls, spec: SceneSpec, store: AssetStore) -> Self | None:
        """The backdrop of a scene, or None where it cannot be laid under the rest.

        That takes a plane that alone stands behind the objects, fills the frame throughout, and is seen sharply.
        """
        plane, camera = spec.backdrop, spec.camera
        alone = spec.ground is None and spec.world is None and spec.atmosphere is None
        if plane is None or not plane.emission or not alone or camera.lens is not None or camera.shutter:
            return None
        texture = cv2.imread(str(store.image_path(plane.texture)), cv2.IMREAD_UNCHANGED)
        if texture is None or texture.dtype != np.uint8 or texture.shape[2:] != (3,):
            return None
        backdrop = cls(spec, plane, cv2.cvtColor(texture, cv2.COLOR_BGR2RGB), store)
        return backdrop if backdrop._covers_what_it_should else None

    def light(self, t: int) -> np.ndarray:
        """What the camera sees of the plane in frame ``t``: scene-linear float32 ``[H, W, 3]``."""
        height, width = self._size
        total = np.zeros((height, width, 3), np.float32)
        to_texture = self._to_texture(t)
        for shift in ((-SPREAD, -SPREAD), (SPREAD, -SPREAD), (-SPREAD, SPREAD), (SPREAD, SPREAD)):
            # OpenCV's integer coordinates are pixel centres.
            at_centres = _translation(-0.5, -0.5) @ to_texture @ _translation(0.5 + shift[0], 0.5 + shift[1])
            seen = cv2.warpPerspective(
                self._texture,
                at_centres,
                (width, height),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT,  # as the material mirrors the image
            )
            total += cv2.LUT(seen, _LINEAR)
        total *= np.float32(self._plane.emission / 4)
        return total

    def objects_region(self, t: int) -> Region | None:
        """The part of frame ``t`` outside of which only the backdrop is seen; None where no object is seen."""
        height, width = self._size
        low, high = np.full(2, np.inf), np.full(2, -np.inf)
        for boxes in self._boxes:
            points = boxes[t] @ self._to_camera[t, :3, :3].T + self._to_camera[t, :3, 3]
            if (points[:, 2] <= NEAR).all():
                continue
            if (points[:, 2] <= NEAR).any():
                return Region(0, 0, height, width)
            seen = points @ self._intrinsics.T
            seen = seen[:, :2] / seen[:, 2:]
            low, high = np.minimum(low, seen.min(axis=0)), np.maximum(high, seen.max(axis=0))
        limits = np.array([width, height])
        low, high = np.maximum(np.floor(low) - MARGIN, 0), np.minimum(np.ceil(high) + MARGIN, limits)
        if (low >= high).any():
            return None
        (left, top), (right, bottom) = low.astype(int).tolist(), high.astype(int).tolist()
        return Region(top, left, bottom, right)

    def _to_texture(self, t: int) -> np.ndarray:
        """The homography from the frame's pixels to the texture's (corners at integers), ``[3, 3]``."""
        plane, (height, width) = self._plane, self._texture.shape[:2]
        copy = plane.size / plane.repeat
        to_plane = np.array([[copy / width, 0, 0], [0, -copy / height, copy], [0, 0, 1]])
        to_world = np.array([[1, 0, -plane.size / 2], [0, 0, plane.offset], [0, 1, -plane.size / 2]]) @ to_plane
        matrix = self._to_camera[t]
        to_camera = matrix[:3, :3] @ to_world
        to_camera[:, 2] += matrix[:3, 3]
        return np.linalg.inv(self._intrinsics @ to_camera)

    @property
    def _covers_what_it_should(self) -> bool:
        """Whether every ray of every frame ends on the plane unless an object is before it."""
        plane, (height, width) = self._plane, self._size
        to_world = np.linalg.inv(self._to_camera)
        corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]])
        rays = corners @ np.linalg.inv(self._intrinsics).T @ to_world[:, :3, :3].swapaxes(1, 2)
        origins = to_world[:, None, :3, 3]
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (plane.offset - origins[..., 1]) / rays[..., 1]
            hits = origins + distance[..., None] * rays
        inside = (distance > 0) & (np.abs(hits[..., [0, 2]]) <= plane.size / 2).all(axis=-1)
        return bool(inside.all()) and all((boxes[..., 1] < plane.offset).all() for boxes in self._boxes)


def _boxes(item: ObjectSpec, store: AssetStore, frames: int) -> np.ndarray:
    """The corners, in the world, of the box around an object's mesh in its own frame: ``[T, 8, 3]``."""
    vertices, how = store.mesh(item.mesh).vertices, item.deformation
    shapes = [vertices] if how is None else [deformed(vertices, how, u) for u in np.linspace(0.0, 1.0, frames)]
    poses = object_poses(item, frames)
    return np.stack([_box(shape) for shape in shapes]) @ poses[:, :3, :3].swapaxes(1, 2) + poses[:, None, :3, 3]


def _box(points: np.ndarray) -> np.ndarray:
    low, high = points.min(axis=0), points.max(axis=0)
    return np.stack(np.meshgrid(*zip(low, high, strict=True), indexing="ij"), axis=-1).reshape(8, 3).astype(float)


def _translation(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])


_ENCODED = np.arange(256) / 255
_LINEAR = np.where(_ENCODED <= 0.04045, _ENCODED / 12.92, ((_ENCODED + 0.055) / 1.055) ** 2.4).astype(np.float32)
