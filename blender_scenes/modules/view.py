"""Where objects stand in the image: the frame in which modules move and size them.

Places are x (right) and y (down) from the image's centre, in image heights, and z, metres along the camera's axis. They
are taken at evenly spread moments, about every second frame, and become the knots of a spline.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from blender_scenes.modules.floor import REACH
from blender_scenes.object_spec import BakedMotion, CurveMotion, ObjectSpec, SimulatedMotion
from blender_scenes.spec import SceneSpec
from blender_scenes.trajectories import evaluate, fit_spline, focal_lengths, motion_poses, object_poses

MEAN_AREA = 0.2
"""A model's silhouette, averaged over models and directions, in squares of its box's diagonal (0.21 ± 0.08)."""
ROWS = 480
"""Speeds are in pixels of an image of this height."""


@dataclass(frozen=True)
class View:
    """What a scene's first camera sees, at ``moments`` moments."""

    scene: SceneSpec

    @cached_property
    def moments(self) -> int:
        """The number of moments: a baked camera's are its frames."""
        frames = self.scene.render.frames
        return frames if isinstance(self.scene.camera.motion, BakedMotion) else max(5, frames // 2 + 1)

    @property
    def pace(self) -> float:
        """Frames from one moment to the next."""
        return (self.scene.render.frames - 1) / (self.moments - 1)

    @cached_property
    def to_camera(self) -> np.ndarray:
        """World to camera at each moment: float64 ``[N, 4, 4]``."""
        return motion_poses(self.scene.camera.motion, self.moments)

    @cached_property
    def focal(self) -> np.ndarray:
        """The focal length in image heights at each moment: float64 ``[N]``."""
        render = self.scene.render
        return focal_lengths(self.scene.camera, render.width / render.height, self.moments)

    @property
    def half(self) -> np.ndarray:
        """Half the image's width and height, in heights: ``[2]``."""
        return np.array([self.scene.render.width / self.scene.render.height / 2, 0.5])

    def seen(self, world: np.ndarray) -> np.ndarray:
        """World places ``[N, 3]`` at the moments as image places ``[N, 3]``; z is at least 0.1."""
        places = np.einsum("tij,tj->ti", self.to_camera[:, :3, :3], world) + self.to_camera[:, :3, 3]
        z = np.maximum(places[:, 2:], 0.1)
        return np.concatenate([places[:, :2] / z * self.focal[:, None], z], axis=1)

    def world(self, places: np.ndarray) -> np.ndarray:
        """Image places ``[N, 3]`` at the moments as world places ``[N, 3]``."""
        z = places[:, 2:]
        points = np.concatenate([places[:, :2] * z / self.focal[:, None], z], axis=1) - self.to_camera[:, :3, 3]
        return np.einsum("tji,tj->ti", self.to_camera[:, :3, :3], points)

    def places(self, item: ObjectSpec) -> np.ndarray:
        """Where an object's centre is: ``[N, 3]``."""
        if isinstance(item.motion, CurveMotion):
            return self.seen(evaluate(item.motion.location, self.moments))
        poses = object_poses(item, self.scene.render.frames)
        at = np.linspace(0, len(poses) - 1, self.moments)
        return self.seen(np.stack([np.interp(at, np.arange(len(poses)), axis) for axis in poses[:, :3, 3].T], axis=1))

    def radius(self, item: ObjectSpec) -> np.ndarray:
        """The radius of a disc as large as its silhouette on average, in image heights: ``[N]``."""
        area = MEAN_AREA * mean_square(self.scales(item))
        return np.asarray(np.sqrt(area / np.pi) * self.focal / self.places(item)[:, 2])

    def reach(self, item: ObjectSpec) -> np.ndarray:
        """How far it reaches from its centre at most, in image heights: ``[N]``."""
        return np.asarray(self.scales(item).max(axis=1) / 2 * self.focal / self.places(item)[:, 2])

    def scales(self, item: ObjectSpec) -> np.ndarray:
        """Its scale on each axis: ``[N, 3]``."""
        if isinstance(item.motion, CurveMotion):
            return np.abs(evaluate(item.motion.scale, self.moments))
        scales = np.linalg.norm(object_poses(item, self.scene.render.frames)[:, :3, :3], axis=1)
        at = np.linspace(0, len(scales) - 1, self.moments)
        return np.stack([np.interp(at, np.arange(len(scales)), axis) for axis in scales.T], axis=1)

    def moved(self, item: ObjectSpec, places: np.ndarray) -> ObjectSpec:
        """The object moved along image places ``[N, 3]``, above the ground if there is one; it turns as before.

        An object whose motion is baked stays as it is.
        """
        if not isinstance(item.motion, CurveMotion):
            return item
        world, ground = self.world(places), self.scene.ground
        if ground is not None:
            world[:, 2] = np.maximum(world[:, 2], ground.offset + self.scales(item).max(axis=1) * 0.3)
        return item.model_copy(update={"motion": item.motion.model_copy(update={"location": fit_spline(world)})})


def centres(item: ObjectSpec, scene: SceneSpec) -> np.ndarray:
    """An object's centre at each frame, ``[T, 3]``; of one not simulated yet, as it falls and slides on, or lies."""
    motion, physics = item.motion, scene.physics
    if not isinstance(motion, SimulatedMotion) or physics is None:
        return object_poses(item, scene.render.frames)[:, :3, 3]
    if motion.settled:
        x, y, _ = motion.location
        return np.tile([x, y, physics.floor + REACH * max(motion.scale)], (scene.render.frames, 1))
    seconds = np.arange(scene.render.frames)[:, None] / physics.rate
    path = np.array(motion.location) + seconds * np.array(motion.velocity)
    path[:, 2] = np.maximum(path[:, 2] - physics.gravity / 2 * seconds[:, 0] ** 2, physics.floor)
    return path


def solids(scene: SceneSpec) -> tuple[ObjectSpec, ...]:
    """All objects, then the distractors that can hide something: not the rods that cloth hangs on."""
    thick = (item for item in scene.distractors if item.made is None or item.made.family != "rod")
    return (*scene.objects, *thick)


def mean_square(scales: np.ndarray) -> np.ndarray:
    """How a mean silhouette grows with the scales of three axes ``[..., 3]``: as a box's does (Cauchy's formula)."""
    x, y, z = np.moveaxis(scales, -1, 0)
    return np.asarray((x * y + y * z + z * x) / 3)


def smooth(share: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and an even way between."""
    share = np.clip(share, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def folded(places: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Places reflected until they are within ``reach`` of 0."""
    there = np.mod(places + reach, 4 * reach)
    return np.asarray(np.where(there > 2 * reach, 4 * reach - there, there) - reach)
