"""Composites the HDRI surroundings behind everything instead of rendering them."""

import cv2
import numpy as np

from blender_scenes.geometry import SceneGeometry, planes_of
from blender_scenes.spec import SceneSpec
from render.light.raster import filtered, pixel_filter


class Sky:
    """The surroundings as seen by the camera."""

    def __init__(self, geometry: SceneGeometry, hdri: np.ndarray) -> None:
        """``hdri``: scene-linear float32 ``[h, w, 3]``, equirectangular, top row first."""
        self._size, self._to_camera, self._intrinsics = geometry.size, geometry.to_camera, geometry.K
        world = geometry.spec.world
        assert world is not None
        self._turn, self._hdri = world.turn, np.float32(world.strength) * np.array(world.tint, np.float32) * hdri
        texels = hdri.shape[1] / (2 * np.pi * float(self._intrinsics[:, 0, 0].min()))
        self._samples = 1 if texels <= 0.3 else 3 if texels <= 1.2 else 5

    @staticmethod
    def fits(spec: SceneSpec) -> bool:
        """Whether only surroundings lie behind the objects and matt planes, in focus, without haze or mirrors."""
        sharp = spec.camera.lens is None and not spec.camera.shutter
        matt = not any(plane.emission for plane, _ in planes_of(spec))
        return spec.world is not None and matt and not spec.mirrors and spec.atmosphere is None and sharp

    def light(self, t: int) -> np.ndarray:
        """The surroundings in frame ``t``: scene-linear float32 ``[H, W, 3]``."""
        (height, width), n = self._size, self._samples
        # The filter extends one pixel further.
        xy = [(np.arange((side + 2) * n, dtype=np.float32) + 0.5) / n - 1 for side in (width, height)]
        x, y = np.meshgrid(*xy)
        turn = np.array(
            [[np.cos(self._turn), -np.sin(self._turn), 0], [np.sin(self._turn), np.cos(self._turn), 0], [0, 0, 1]]
        )
        to_world = turn @ self._to_camera[t, :3, :3].T @ np.linalg.inv(self._intrinsics[t])
        right, ahead, up = (row[0] * x + row[1] * y + row[2] for row in to_world.astype(np.float32))
        rows, columns = self._hdri.shape[:2]
        # Cycles' mapping: the image centre is +x, its left half is towards +y (kernel/camera/projection.h).
        u = 0.5 - np.arctan2(ahead, right) / (2 * np.pi)
        v = 0.5 - np.arctan2(up, np.hypot(right, ahead)) / np.pi
        seen = cv2.remap(
            self._hdri,
            (u * columns - 0.5).astype(np.float32),
            (v * rows - 0.5).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        return filtered(seen, pixel_filter(n), n)
