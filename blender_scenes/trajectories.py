"""Smooth random motion: polynomials through a few control points, and the matrices they give frame by frame."""

from collections.abc import Callable

import numpy as np

from blender_scenes.spec import CameraSpec, Curve, ObjectSpec

CONTROL_POINTS = 5


def sample_walk(
    rng: np.random.Generator,
    draw: Callable[[], np.ndarray],
    step: Callable[[np.ndarray, np.ndarray], np.ndarray],
    pause_start: float = 0.10,
    pause_end: float = 0.65,
) -> np.ndarray:
    """Control points ``[5, D]``: a drawn start, then ``step(previous, draw())``, standing still now and then.

    A control point starts a pause with probability ``pause_start``; a running pause ends with ``pause_end``.
    """
    points = [draw()]
    paused = False
    for _ in range(CONTROL_POINTS - 1):
        paused = rng.random() >= pause_end if paused else rng.random() < pause_start
        points.append(points[-1] if paused else step(points[-1], draw()))
    return np.stack(points)


def limited_step(rng: np.random.Generator, sigma: float, start: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``start`` moved toward ``target``, on each axis by no more than the absolute value of a normal of ``sigma``."""
    limit = np.abs(rng.normal(0.0, sigma, size=start.shape))
    return start + np.clip(target - start, -limit, limit)


def fit_curve(points: np.ndarray) -> Curve:
    """The polynomial of degree N - 1 through control points ``[N, 3]`` spread evenly over u in [0, 1]."""
    u = np.linspace(0.0, 1.0, len(points))
    coefficients = np.linalg.solve(np.vander(u, increasing=True), points)
    x, y, z = (tuple(float(value) for value in axis) for axis in coefficients.T)
    return Curve(axes=(x, y, z))


def evaluate(curve: Curve, frames: int) -> np.ndarray:
    """The curve at each of ``frames`` frames: float64 ``[T, 3]``."""
    u = np.linspace(0.0, 1.0, frames)
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


def object_poses(spec: ObjectSpec, frames: int) -> np.ndarray:
    """Object-to-world matrices of an object over the video: float64 ``[T, 4, 4]``."""
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, :3] = euler_matrices(evaluate(spec.rotation, frames)) * evaluate(spec.scale, frames)[:, None, :]
    poses[:, :3, 3] = evaluate(spec.location, frames)
    return poses


def camera_poses(spec: CameraSpec, frames: int) -> np.ndarray:
    """World-to-camera matrices over the video: float64 ``[T, 4, 4]``; camera axes x right, y down, z forward."""
    location = evaluate(spec.location, frames)
    forward = evaluate(spec.look_at, frames) - location
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, :3, :3] = rotation
    poses[:, :3, 3] = -np.einsum("tij,tj->ti", rotation, location)
    return poses


def intrinsics(spec: CameraSpec, width: int, height: int) -> np.ndarray:
    """The pinhole matrix ``[3, 3]`` in pixels, square pixels, with pixel centres at half-integers."""
    focal = width / (2 * np.tan(spec.fov / 2))
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
