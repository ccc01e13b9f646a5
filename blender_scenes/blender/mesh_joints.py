"""The skeleton of an imported file: its armatures' bones, and how vertices hang on them. In a Blender worker only."""

from collections.abc import Sequence
from typing import NamedTuple

import bpy
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from assets.prepared import Skeleton
from assets.skeletons import skeleton_of
from vosforge.errors import InputError

UNEVEN = 0.02
"""Where a bone's scales along its axes differ by more, as a share, its turns would shear what hangs on it."""


class Bone(NamedTuple):
    """A bone of an armature."""

    armature: bpy.types.Object
    name: str


class Hung(NamedTuple):
    """How vertices hang on bones; on none if there are no bones."""

    bones: tuple[Bone, ...]
    weights: csr_array
    """[V,B]"""


def hung(obj: bpy.types.Object, mesh: bpy.types.Mesh, world: NDArray[np.float64], warnings: list[str]) -> Hung:
    """How the vertices of ``mesh``, that of the evaluated ``obj``, hang on bones: by weights, or all on one."""
    original, count = obj.original, len(mesh.vertices)
    armature = next((each.object for each in original.modifiers if each.type == "ARMATURE" and each.object), None)
    carrier = _carrier(original) if armature is None else None
    if (armature or carrier) and not np.allclose(world, np.array(obj.matrix_world), atol=1e-6):
        warnings.append(f"{original.name} is placed more than once: its copies do not move with its bones")
        armature = carrier = None
    if carrier is not None:
        return Hung((carrier,), csr_array(np.ones((count, 1))))
    if armature is None:
        return Hung((), csr_array((count, 0)))
    known = {bone.name for bone in armature.data.bones if bone.use_deform}
    bones = [(group.index, Bone(armature, group.name)) for group in original.vertex_groups if group.name in known]
    column = {index: place for place, (index, _) in enumerate(bones)}
    shares = [
        (vertex.index, column[given.group], given.weight)
        for vertex in mesh.vertices
        for given in vertex.groups
        if given.weight > 0 and given.group in column
    ]
    rows, columns, values = np.array(shares, np.float64).reshape(-1, 3).T
    weights = csr_array((values, (rows.astype(int), columns.astype(int))), shape=(count, len(bones)))
    return Hung(tuple(bone for _, bone in bones), weights)


def read_skeleton(pieces: Sequence[Hung], warnings: list[str]) -> Skeleton | None:
    """The joints of an imported file, in world coordinates, as it is posed; None without bones.

    ``pieces``: all its vertices, in order. What the joints of a prepared mesh cannot hold is a warning, and it has
    none.
    """
    armatures = dict.fromkeys(bone.armature for piece in pieces for bone in piece.bones)
    if not armatures:
        return None
    bones = [bone for armature in armatures for bone in _downward(armature)]
    number = {bone: place for place, bone in enumerate(bones)}
    above = [armature.data.bones[name].parent for armature, name in bones]
    parents = np.array(
        [-1 if up is None else number[Bone(bone.armature, up.name)] for bone, up in zip(bones, above, strict=True)]
    )
    weights = vstack([_spread(piece, number) for piece in pieces], format="csr")
    still = np.concatenate([np.full(piece.weights.shape[0], not piece.bones) for piece in pieces])
    matrices = _matrices(bones)
    try:
        for place in np.unique(weights.indices):
            _check_scale(bones[place].name, matrices[place])
        return skeleton_of(matrices[:, :3, 3], parents, weights, still)
    except InputError as error:
        warnings.append(str(error))
        return None


def _carrier(obj: bpy.types.Object) -> Bone | None:
    """The bone that carries an object, or what it is a part of, as a hand carries a sword."""
    while obj is not None:
        if obj.parent_type == "BONE" and obj.parent is not None:
            return Bone(obj.parent, obj.parent_bone)
        obj = obj.parent
    return None


def _downward(armature: bpy.types.Object) -> list[Bone]:
    """The bones of an armature, each after its parent."""
    ordered = sorted(armature.data.bones, key=lambda bone: len(bone.parent_recursive))
    return [Bone(armature, bone.name) for bone in ordered]


def _spread(piece: Hung, number: dict[Bone, int]) -> csr_array:
    """The weights of a piece with a column for each of all bones."""
    places = [number[bone] for bone in piece.bones]
    ones = (np.ones(len(places)), (np.arange(len(places)), places))
    return piece.weights @ csr_array(ones, shape=(len(places), len(number)))


def _matrices(bones: Sequence[Bone]) -> NDArray[np.float64]:
    """The bones as they are posed, in the world: ``[N,4,4]``; each turns about its origin."""
    state = bpy.context.evaluated_depsgraph_get()
    posed = [(armature.evaluated_get(state), name) for armature, name in bones]
    return np.array([np.array(armature.matrix_world @ armature.pose.bones[name].matrix) for armature, name in posed])


def _check_scale(name: str, matrix: NDArray[np.float64]) -> None:
    """Raises InputError if a bone is scaled differently along its axes."""
    products = matrix[:3, :3].T @ matrix[:3, :3]
    size = np.trace(products) / 3
    if np.abs(products - size * np.eye(3)).max() > 2 * UNEVEN * size:
        raise InputError(f"its bone {name} is scaled unevenly: it stays rigid; apply the scale to move it")
