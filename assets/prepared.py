"""The one mesh format behind every source: plain arrays, unit size, a content hash.

Not here: where meshes come from (`procedural`, `packs`) and where they are kept (`store`).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from vosforge.config import Record
from vosforge.errors import InputError

# Positions are held to 1e-7 of an object's size and UVs to 1e-6, so that the last bits of a CPU's arithmetic
# do not change the content hash.
POSITION_DECIMALS = 7
UV_DECIMALS = 6
COLOR_DECIMALS = 4
SKIN_DECIMALS = 6
# A triangle whose height is below this share of the object's size is a line or a point.
SMALLEST_HEIGHT = 1e-9


SOLID = 0.5
"""A surface is labelled where it is more opaque than this; elsewhere the label is that of what lies behind."""
SPECULAR, MATT = 0.04, 0.003
"""What a surface reflects besides its own colour: a dielectric's share, head-on, and next to nothing."""
REFLECTANCE = "reflectance"
"""The pass that holds what surfaces reflect of any light: their colours, and one of those."""


class Material(Record):
    """A surface's appearance: the inputs of a principled shader that sources can provide."""

    name: str = "material"
    base_color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    """Linear RGB in 0..1; unused with a texture."""
    metallic: float = Field(default=0.0, ge=0.0, le=1.0)
    roughness: float = Field(default=0.5, ge=0.0, le=1.0)
    alpha: float = Field(default=1.0, ge=0.0, le=1.0)
    texture: str | None = None
    """Content hash of an sRGB base colour image in the store."""
    cutout: bool = False
    """Whether the texture's alpha channel cuts the surface out (leaves, nets)."""
    cutoff: float | None = None
    """The alpha cutoff of a cut-out surface: opaque above, absent below; None if it blends."""

    @model_serializer(mode="wrap")
    def _without_absent(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Cutoffs were added later: without one, the written form and hash are unchanged."""
        values: dict[str, Any] = serialize(self)
        return {name: value for name, value in values.items() if name != "cutoff" or value is not None}

    @property
    def solid(self) -> bool:
        """Whether it is labelled everywhere."""
        return self.alpha > SOLID and not (self.cutout and self.texture is not None)


class Skeleton(NamedTuple):
    """The J joints of a shape at rest, and how its vertices hang on them."""

    places: NDArray[np.floating[Any]]
    """[J,3]"""
    parents: NDArray[np.integer[Any]]
    """[J] the joint that each joint hangs on, an earlier one; -1: none."""
    skin: NDArray[np.floating[Any]]
    """[V,J] the share of each joint in each vertex; they add up to 1."""


@dataclass(frozen=True, eq=False)
class PreparedMesh:
    """A triangle mesh, z up, centred on its bounding box, whose bounding-box diagonal is 1 (ShapeNet's normalisation).

    Make one with `prepare_mesh`, which normalises and validates.
    """

    vertices: NDArray[np.float32]
    """[V,3] positions."""
    faces: NDArray[np.int32]
    """[F,3] vertex indices, counter-clockwise seen from outside."""
    corner_uv: NDArray[np.float32] | None
    """[F,3,2] texture coordinates of each face's corners, v up; None if the mesh has none."""
    smooth: NDArray[np.bool_]
    """[F] whether a face is shaded smoothly."""
    material_index: NDArray[np.int16]
    """[F] index into ``materials``."""
    materials: tuple[Material, ...]
    corner_color: NDArray[np.float32] | None = None
    """[F,3,3] linear RGB that multiplies the material's colour at each face's corners; None without any."""
    joints: NDArray[np.float32] | None = None
    """[J,3] places of its joints; None without a skeleton. This and the next two are as `Skeleton` has them."""
    parents: NDArray[np.int16] | None = None
    """[J]"""
    skin: NDArray[np.float32] | None = None
    """[V,J]"""
    morphs: NDArray[np.float32] | None = None
    """[M,V,3] how far each of its shape keys moves the vertices; None without any."""

    @property
    def skeleton(self) -> Skeleton | None:
        """Its joints; None if it has none."""
        if self.joints is None or self.parents is None or self.skin is None:
            return None
        return Skeleton(self.joints, self.parents, self.skin)

    @property
    def textures(self) -> tuple[str, ...]:
        """The content hashes of the images the mesh carries, each once, sorted."""
        return tuple(sorted({material.texture for material in self.materials if material.texture}))

    @property
    def box_places(self) -> NDArray[np.float32]:
        """Where each vertex lies in the bounding box, 0 to 1 on each axis: float32 ``[V, 3]``."""
        low = self.vertices.min(axis=0)
        extent = np.maximum(self.vertices.max(axis=0) - low, 1e-6)
        return ((self.vertices - low) / extent).astype(np.float32)

    def arrays(self) -> dict[str, NDArray]:
        """The arrays that are present, by field name."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "materials"}
        return {name: value for name, value in values.items() if value is not None}

    def materials_json(self) -> str:
        """The materials as canonical JSON, as hashed and stored."""
        return json.dumps([material.model_dump() for material in self.materials], sort_keys=True)

    def content_hash(self) -> str:
        """The first 32 hex digits of the SHA-256 over the arrays (names, types, shapes, bytes) and the materials."""
        digest = hashlib.sha256(self.materials_json().encode())
        for name, array in self.arrays().items():
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            digest.update(f"{name}{little.dtype.str}{little.shape}".encode())
            digest.update(little.data)
        return digest.hexdigest()[:32]


def prepare_mesh(
    name: str,
    vertices: ArrayLike,
    faces: ArrayLike,
    corner_uv: ArrayLike | None = None,
    smooth: ArrayLike | bool = True,
    material_index: ArrayLike | int = 0,
    materials: Sequence[Material] = (),
    corner_color: ArrayLike | None = None,
    skeleton: Skeleton | None = None,
    morphs: ArrayLike | None = None,
) -> PreparedMesh:
    """A `PreparedMesh` from triangles of any size and place.

    Drops triangles without area and vertices that no triangle uses, centres and scales the rest, and drops the
    materials that no triangle shows. vertices: [V,3], z up; faces: [F,3]; corner_uv: [F,3,2]; corner_color: [F,3,3];
    smooth and material_index: [F] or one value; morphs: [M,V,3], how far shape keys move the vertices. ``name``
    identifies the mesh in errors. Raises InputError for empty, non-finite, zero-size or zero-area meshes and for
    invalid indices.
    """
    points = np.asarray(vertices, np.float64).reshape(-1, 3)
    triangles = np.asarray(faces, np.int64).reshape(-1, 3)
    uv = None if corner_uv is None else np.asarray(corner_uv, np.float64).reshape(-1, 3, 2)
    if not len(points) or not len(triangles):
        raise InputError(f"the mesh {name} is empty (no triangles): leave it out or export it again")
    if not np.isfinite(points).all() or (uv is not None and not np.isfinite(uv).all()):
        raise InputError(f"the mesh {name} has coordinates that are NaN or infinite: export it again")
    if triangles.min() < 0 or triangles.max() >= len(points):
        raise InputError(f"the mesh {name} has faces that refer to vertices it does not have: export it again")
    materials = tuple(materials) or (Material(),)
    face_smooth = np.broadcast_to(np.asarray(smooth, bool), len(triangles))
    face_material = np.broadcast_to(np.asarray(material_index, np.int64), len(triangles))
    if face_material.min() < 0 or face_material.max() >= len(materials):
        raise InputError(f"the mesh {name} has faces that refer to materials it does not have: export it again")

    # Joints and where shape keys move the vertices go along with them.
    count, places = len(points), np.empty((0, 3)) if skeleton is None else np.asarray(skeleton.places, np.float64)
    shifted = points + (np.empty((0, count, 3)) if morphs is None else np.asarray(morphs, np.float64))
    points = np.concatenate([points, places, shifted.reshape(-1, 3)])
    points = _unit_size(points, triangles, name)
    keep = _has_area(points[triangles])
    if not keep.any():
        raise InputError(f"the mesh {name} has no area (all its triangles are lines or points): leave it out")
    triangles = triangles[keep]
    points = _unit_size(points, triangles, name)  # the dropped triangles may have stretched the box
    used, triangles = np.unique(triangles, return_inverse=True)
    shown, face_material = np.unique(face_material[keep], return_inverse=True)
    return PreparedMesh(
        vertices=np.round(points[used], POSITION_DECIMALS).astype(np.float32),
        faces=triangles.reshape(-1, 3).astype(np.int32),
        corner_uv=None if uv is None else np.round(uv[keep], UV_DECIMALS).astype(np.float32),
        smooth=face_smooth[keep].copy(),
        material_index=face_material.reshape(-1).astype(np.int16),
        materials=tuple(materials[index] for index in shown),
        corner_color=None if corner_color is None else _colors(corner_color, keep),
        **({} if skeleton is None else _joints(skeleton, points[count : count + len(places)], used)),
        morphs=None if morphs is None else _moves(points[:count], points[count + len(places) :], used),
    )


def _joints(skeleton: Skeleton, places: NDArray[np.float64], used: NDArray[np.int64]) -> dict[str, Any]:
    """The fields of a mesh that keeps the vertices ``used``, and has its joints at ``places``."""
    return {
        "joints": np.round(places, POSITION_DECIMALS).astype(np.float32),
        "parents": np.asarray(skeleton.parents, np.int16),
        "skin": np.round(np.asarray(skeleton.skin, np.float64)[used], SKIN_DECIMALS).astype(np.float32),
    }


def _moves(points: NDArray[np.float64], shifted: NDArray[np.float64], used: NDArray[np.int64]) -> NDArray[np.float32]:
    """How far shape keys move the vertices ``used``: float32 ``[M,V,3]``."""
    moves = shifted.reshape(-1, *points.shape) - points
    return np.round(moves[:, used], POSITION_DECIMALS).astype(np.float32)


def _colors(corner_color: ArrayLike, keep: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """The colours of the kept faces' corners, in 0..1; None where all are white."""
    colors = np.nan_to_num(np.asarray(corner_color, np.float64).reshape(-1, 3, 3)[keep]).clip(0, 1)
    rounded: NDArray[np.float32] = np.round(colors, COLOR_DECIMALS).astype(np.float32)
    return None if (rounded == 1).all() else rounded


def _unit_size(points: NDArray[np.float64], triangles: NDArray[np.int64], name: str) -> NDArray[np.float64]:
    corners = points[triangles.ravel()]
    low, high = corners.min(axis=0), corners.max(axis=0)
    diagonal = float(np.linalg.norm(high - low))
    if not 0.0 < diagonal < np.inf:
        raise InputError(f"the mesh {name} has no size (all its vertices are in one place): leave it out")
    return (points - (low + high) / 2) / diagonal


def _has_area(corners: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[F] whether the triangles [F,3,3] of a unit-size mesh have a height above `SMALLEST_HEIGHT`."""
    edges = np.roll(corners, -1, axis=1) - corners
    twice_area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    longest = np.linalg.norm(edges, axis=2).max(axis=1)
    return twice_area > SMALLEST_HEIGHT * longest
