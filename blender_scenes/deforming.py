"""Shapes over time: where a mesh's vertices are as shape keys come and go, joints turn, and it deforms. No Blender."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from assets.prepared import PreparedMesh, Skeleton
from blender_scenes.object_spec import Course, Deformation, JointMotion, MorphMotion, ObjectSpec, Swing
from vosforge.errors import VOSForgeError

ALL = slice(None)
AXES = {"x": [1, 2, 0], "y": [2, 0, 1], "z": [0, 1, 2]}
"""The axes of a mesh that stand for x, y and z, by the one that stands for z."""


def course(number: Course, u: float) -> float:
    """A number at time ``u`` in [0, 1]."""
    if isinstance(number, Swing):
        return float(number.mean + number.size * np.sin(2 * np.pi * (number.turns * u + number.phase)))
    return float(np.polynomial.polynomial.polyval(u, np.asarray(number)))


def shaped(item: ObjectSpec, mesh: PreparedMesh, u: float, which: np.ndarray | slice = ALL) -> np.ndarray:
    """All vertices of an object's ``mesh``, or ``which`` of them, at time ``u`` in [0, 1]: float64 ``[V, 3]``."""
    if item.rigid:
        return mesh.vertices[which].astype(np.float64)
    vertices = morphed(mesh, item.morphs, u) if item.morphs else mesh.vertices
    if item.joints:
        vertices = posed(mesh, vertices, item.joints, u)
    return vertices[which] if item.deformation is None else deformed(vertices, item.deformation, u, which)


def shown(shapes: np.ndarray, u: float, which: np.ndarray | slice = ALL) -> np.ndarray:
    """A cloth's vertices, or ``which`` of them, at time ``u``, from those at all frames ``[T, V, 3]``.

    Between two frames, and beyond the first and the last, each goes on straight. float64 ``[V, 3]``.
    """
    at = u * (len(shapes) - 1)
    first = int(np.clip(np.floor(at), 0, len(shapes) - 2))
    one, other = (shapes[t][which].astype(np.float64) for t in (first, first + 1))
    return one + (at - first) * (other - one)


def morphed(mesh: PreparedMesh, motions: Sequence[MorphMotion], u: float) -> np.ndarray:
    """The vertices of a mesh with shape keys at time ``u``, float64 ``[V, 3]``."""
    if mesh.morphs is None or max(motion.morph for motion in motions) >= len(mesh.morphs):
        raise VOSForgeError("an object uses shape keys that its mesh does not have: give it a mesh with more of them")
    moved = mesh.vertices.astype(np.float64)
    for motion in motions:
        moved += course(motion.weight, u) * mesh.morphs[motion.morph]
    return moved


def posed(mesh: PreparedMesh, vertices: np.ndarray, motions: Sequence[JointMotion], u: float) -> np.ndarray:
    """The ``vertices [V, 3]`` of a mesh as its skeleton turns them at time ``u``, float64: linear blend skinning."""
    skeleton = mesh.skeleton
    if skeleton is None or max(motion.joint for motion in motions) >= len(skeleton.places):
        raise VOSForgeError("joints of an object turn that its mesh does not have: give it a mesh with a skeleton")
    moves = joint_moves(skeleton, motions, u)
    blended = np.einsum("vj,ja->va", skeleton.skin.astype(np.float64), moves.reshape(-1, 12)).reshape(-1, 3, 4)
    return np.einsum("vab,vb->va", blended[:, :, :3], vertices.astype(np.float64)) + blended[:, :, 3]


def joint_moves(skeleton: Skeleton, motions: Sequence[JointMotion], u: float) -> np.ndarray:
    """How each joint moves what hangs on it at time ``u``: float64 ``[J, 3, 4]``."""
    places = skeleton.places.astype(np.float64)
    turns = np.tile(np.eye(3), (len(places), 1, 1))
    for motion in motions:
        axis = np.array(motion.axis) / np.linalg.norm(motion.axis)
        turns[motion.joint] = Rotation.from_rotvec(course(motion.angle, u) * axis).as_matrix() @ turns[motion.joint]
    moves = np.empty((len(places), 3, 4))
    for joint, (place, parent, turn) in enumerate(zip(places, skeleton.parents, turns, strict=True)):
        own = np.column_stack([turn, place - turn @ place])
        if parent >= 0:
            above = moves[parent]
            own = np.column_stack([above[:, :3] @ own[:, :3], above[:, :3] @ own[:, 3] + above[:, 3]])
        moves[joint] = own
    return moves


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
