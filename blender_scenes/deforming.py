"""Shapes over time: where a mesh's vertices are when it bends, twists and waves. No Blender."""

import numpy as np

from blender_scenes.spec import Course, Deformation, Swing

ALL = slice(None)
AXES = {"x": [1, 2, 0], "y": [2, 0, 1], "z": [0, 1, 2]}
"""The axes of a mesh that stand for x, y and z, by the one that stands for z."""


def course(number: Course, u: float) -> float:
    """A number at time ``u`` in [0, 1]."""
    if isinstance(number, Swing):
        return float(number.mean + number.size * np.sin(2 * np.pi * (number.turns * u + number.phase)))
    return float(np.polynomial.polynomial.polyval(u, np.asarray(number)))


def deformed(vertices: np.ndarray, how: Deformation, u: float, which: np.ndarray | slice = ALL) -> np.ndarray:
    """All vertices ``[V, 3]`` of a prepared mesh, or ``which`` of them, at time ``u`` in [0, 1], float64."""
    twist, wave, phase, bend = (course(number, u) for number in (how.twist, how.wave, how.phase, how.bend))
    axes = AXES["xyz"[np.ptp(vertices, axis=0).argmax()] if how.axis == "longest" else how.axis]
    x, y, z = vertices[which].astype(np.float64)[:, axes].T
    x = x + wave * np.sin(2 * np.pi * (z / how.wavelength + phase))
    cos, sin = np.cos(twist * z), np.sin(twist * z)
    x, y = x * cos - y * sin, x * sin + y * cos
    if bend:
        x, z = (1 - np.cos(bend * z)) / bend + x * np.cos(bend * z), np.sin(bend * z) / bend - x * np.sin(bend * z)
    result = np.empty((len(x), 3))
    result[:, axes] = np.stack([x, y, z], axis=1)
    return result


def misfit(one: np.ndarray, other: np.ndarray) -> float:
    """How far points ``other [N, 3]`` are, as a root mean square, from ``one`` moved and turned to fit them best.

    As a share of the distance of ``one`` from its centre (Kabsch, 1976). 0 for a rigid object.
    """
    one, other = (points.astype(np.float64) - points.mean(axis=0, dtype=np.float64) for points in (one, other))
    left, _, right = np.linalg.svd(one.T @ other)
    left[:, 2] *= np.sign(np.linalg.det(left @ right))
    return float(np.linalg.norm(one @ left @ right - other) / np.linalg.norm(one))
