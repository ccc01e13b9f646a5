"""The shape keys (morph targets) of an imported file: where each moves the vertices. In a Blender worker only."""

from collections.abc import Iterator, Sequence

import bpy
import numpy as np
from numpy.typing import NDArray

from blender_scenes.blender.mesh_objects import Piece

MAX_MORPHS = 32
SMALLEST = 1e-3
"""Shape keys that move no vertex by this share of the object's largest side do nothing."""


def read_morphs(pieces: Sequence[Piece], warnings: list[str]) -> NDArray[np.float64] | None:
    """How far each shape key moves the vertices of all ``pieces``, ``[M,V,3]`` in the world; None without any.

    Blender evaluates each alone, added to the first frame's. Keys of the same name in several objects are one, as a
    smile is one in a face and its teeth. What cannot be told is a warning.
    """
    counts = [len(piece.vertices) for piece in pieces]
    starts = np.cumsum([0, *counts])
    found: dict[str, NDArray[np.float64]] = {}
    for piece, start, count in zip(pieces, starts, counts, strict=False):
        for name, moves in _moves(piece, warnings):
            if name not in found and len(found) == MAX_MORPHS:
                warnings.append(f"it has more than {MAX_MORPHS} shape keys: {name} is left out")
                continue
            found.setdefault(name, np.zeros((starts[-1], 3)))[start : start + count] = moves
    return np.stack(list(found.values())) if found else None


def _moves(piece: Piece, warnings: list[str]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The shape keys of a piece by name, and how far each moves its vertices, ``[V,3]`` in the world."""
    obj = piece.source
    keys = obj.data.shape_keys if obj.type == "MESH" else None
    if keys is None or not keys.use_relative:
        return
    if not np.allclose(piece.world, np.array(obj.matrix_world), atol=1e-6):
        warnings.append(f"{obj.name} is placed more than once: its copies do not have its shape keys")
        return
    keys.animation_data_clear()  # keeps the first frame's values
    rest = _places(piece)
    for key in keys.key_blocks:
        if key == keys.reference_key or key.mute:
            continue
        value, key.slider_min, key.slider_max = key.value, min(key.slider_min, 0.0), max(key.slider_max, 1.0)
        key.value = toward = 1.0 if value < 0.5 else 0.0
        there = _places(piece)
        key.value = value
        if rest is None or there is None or rest.shape != there.shape:
            warnings.append(f"a modifier changes the triangles of {obj.name}: its shape keys are left out")
            return
        moves = (there - rest) / (toward - value)
        if np.abs(moves).max() > SMALLEST * np.ptp(rest, axis=0).max():
            yield key.name, moves


def _places(piece: Piece) -> NDArray[np.float64] | None:
    """Where the vertices of a piece are with its shape keys as they are set; None if there are others now."""
    bpy.context.view_layer.update()
    evaluated = piece.source.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    places = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", places.ravel())
    evaluated.to_mesh_clear()
    if len(places) <= piece.owner.max(initial=0) or any(each.type == "DECIMATE" for each in piece.source.modifiers):
        return None
    return (places @ piece.world[:3, :3].T + piece.world[:3, 3])[piece.owner]
