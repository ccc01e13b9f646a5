"""Smooth random motion: polynomials through a few control points, and the matrices they give frame by frame."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import minimize_scalar

from blender_scenes.object_spec import BakedMotion, Curve, ObjectSpec, SimulatedMotion, Spline, Trajectory
from blender_scenes.spec import CameraSpec, LookAtMotion
from vosforge.errors import VOSForgeError

Limits = Literal["both", "upward"]
CONTROL_POINTS = 5
_FIT = np.linalg.inv(np.vander(np.linspace(0.0, 1.0, CONTROL_POINTS), increasing=True))
"""Control points to coefficients."""


def sample_pauses(rng: np.random.Generator, start: float = 0.10, end: float = 0.65) -> list[bool]:
    """The steps between control points at which a walk pauses.

    A step starts a pause with probability ``start``; a running pause ends at each step with ``end``.
    """
    pauses = [False]
    for _ in range(CONTROL_POINTS - 1):
        pauses.append(bool(rng.random() >= end if pauses[-1] else rng.random() < start))
    return pauses[1:]


def sample_walk(pauses: list[bool], start: np.ndarray, step: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Control points ``[5, D]``: ``start``, then ``step(previous)`` wherever there is no pause."""
    points = [start]
    for paused in pauses:
        points.append(points[-1] if paused else step(points[-1]))
    return np.stack(points)


def limited_step(
    rng: np.random.Generator, sigma: float, start: np.ndarray, target: np.ndarray, limits: Limits = "both"
) -> np.ndarray:
    """``start`` moved toward ``target``, on each axis by no more than the absolute value of a normal of ``sigma``.

    ``limits`` "upward" leaves moves toward smaller coordinates as long as they are, as BL30K's generator does.
    """
    limit = np.abs(rng.normal(0.0, sigma, size=start.shape))
    return start + np.clip(target - start, -limit if limits == "both" else -np.inf, limit)


def fit_curve(points: np.ndarray) -> Curve:
    """The polynomial of degree 4 through control points ``[5, 3]`` spread evenly over u in [0, 1]."""
    x, y, z = (tuple(axis) for axis in (_FIT @ points).T.tolist())
    return Curve(axes=(x, y, z))


def least_distance(one: Curve, other: Curve) -> float:
    """The distance of two moving points by bounded scalar minimisation, not always the true minimum.

    BL30K's generator tests with it; a minimum it misses lets paths come closer than they may.
    """
    (a0, a1, a2, a3, a4), (b0, b1, b2, b3, b4), (c0, c1, c2, c3, c4) = (
        [p - q for p, q in zip(mine, theirs, strict=True)] for mine, theirs in zip(one.axes, other.axes, strict=True)
    )

    def distance(u: float) -> float:
        return math.hypot(
            a0 + u * (a1 + u * (a2 + u * (a3 + u * a4))),
            b0 + u * (b1 + u * (b2 + u * (b3 + u * b4))),
            c0 + u * (c1 + u * (c2 + u * (c3 + u * c4))),
        )

    return float(minimize_scalar(distance, bounds=(0.0, 1.0), method="bounded").fun)


def fit_spline(points: np.ndarray) -> Spline:
    """The spline through knots ``[N, 3]`` spread evenly over u in [0, 1]."""
    return Spline(knots=tuple((x, y, z) for x, y, z in points.tolist()))


def evaluate(curve: Trajectory, frames: int, shift: float = 0.0) -> np.ndarray:
    """The path at each of ``frames`` frames, or ``shift`` frames later: float64 ``[T, 3]``."""
    u = np.linspace(0.0, 1.0, frames) + shift / (frames - 1)
    if isinstance(curve, Spline):
        knots = np.array(curve.knots)
        return np.asarray(CubicSpline(np.linspace(0.0, 1.0, len(knots)), knots)(u))
    return np.stack([np.polynomial.polynomial.polyval(u, np.asarray(axis)) for axis in curve.axes], axis=1)


def euler_matrices(angles: np.ndarray) -> np.ndarray:
    """Rotation matrices ``[T, 3, 3]`` of XYZ Euler angles ``[T, 3]`` (x applied first, as Blender's 'XYZ' order)."""
    cos, sin = np.cos(angles), np.sin(angles)
    (cx, cy, cz), (sx, sy, sz) = cos.T, sin.T
    rows = [
        [cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz],
        [cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz],
        [-sy, sx * cy, cx * cy],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def object_poses(spec: ObjectSpec, frames: int, shift: float = 0.0) -> np.ndarray:
    """Object-to-world matrices of an object over the video, or ``shift`` frames later: float64 ``[T, 4, 4]``."""
    motion = spec.motion
    if isinstance(motion, BakedMotion):
        return replayed(np.array(motion.poses), shift)
    if isinstance(motion, SimulatedMotion):
        raise VOSForgeError("where an object is that moves by physics is known once a worker has baked its scene")
    turned = euler_matrices(evaluate(motion.rotation, frames, shift))
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, :3] = turned * evaluate(motion.scale, frames, shift)[:, None, :]
    poses[:, :3, 3] = evaluate(motion.location, frames, shift)
    return poses


def replayed(poses: np.ndarray, shift: float) -> np.ndarray:
    """Baked poses ``[T, 4, 4]``, or ``shift`` frames later.

    Between two of them each number changes evenly, before the first and after the last as it does beside them.
    """
    if shift == 0 or len(poses) < 2:
        return poses
    steps = np.diff(poses, axis=0)
    toward = np.concatenate([steps, steps[-1:]]) if shift > 0 else np.concatenate([steps[:1], steps])
    return poses + shift * toward


def camera_poses(spec: CameraSpec, frames: int, shift: float = 0.0) -> np.ndarray:
    """World-to-camera matrices over the video, or ``shift`` frames later: float64 ``[T, 4, 4]``.

    ``frames``: those of the video, which its cuts count. A frame's shutter opens and closes in its own shot. Camera
    axes: x right, y down, z forward.
    """
    poses = motion_poses(spec.motion, frames, shift)
    for cut in spec.cuts:
        poses[cut.frame :] = motion_poses(cut.motion, frames, shift)[cut.frame :]
    return poses


def shots(spec: CameraSpec, frames: int) -> np.ndarray:
    """The shot that each frame belongs to, from 0 on: int64 ``[T]``."""
    return np.searchsorted([cut.frame for cut in spec.cuts], np.arange(frames), side="right")


def motion_poses(motion: LookAtMotion | BakedMotion, frames: int, shift: float = 0.0) -> np.ndarray:
    """The matrices of a single camera's motion, as `camera_poses`."""
    if isinstance(motion, BakedMotion):
        return np.linalg.inv(replayed(np.array(motion.poses), shift))
    location = evaluate(motion.location, frames, shift)
    forward = evaluate(motion.look_at, frames, shift) - location
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, :3] = rotation
    poses[:, :3, 3] = -np.einsum("tij,tj->ti", rotation, location)
    return poses


def focal_lengths(spec: CameraSpec, width: float, frames: int, shift: float = 0.0) -> np.ndarray:
    """Focal lengths over the video, or ``shift`` frames later, in the unit of the image's width: float64 ``[T]``."""
    u = np.linspace(0.0, 1.0, frames) + shift / (frames - 1)
    doublings = np.polynomial.polynomial.polyval(u, np.asarray(spec.zoom or (0.0,)))
    return np.asarray(width * 2.0**doublings / (2 * np.tan(spec.fov / 2)))


def intrinsics(spec: CameraSpec, width: int, height: int, frames: int) -> np.ndarray:
    """Pinhole matrices ``[T, 3, 3]`` in pixels, square pixels, with pixel centres at half-integers."""
    K = np.tile([[0.0, 0, width / 2], [0, 0, height / 2], [0, 0, 1]], (frames, 1, 1))
    K[:, 0, 0] = K[:, 1, 1] = focal_lengths(spec, width, frames)
    return K
