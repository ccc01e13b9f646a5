"""The renderable triangles of an imported file, in world coordinates. In a Blender worker only."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import bpy
import numpy as np
from numpy.typing import NDArray

from assets.creases import split_creases
from blender_scenes.blender.mesh_joints import Hung, hung
from blender_scenes.blender.mesh_materials import ImportedSurface

SURFACES = ("MESH", "CURVE", "SURFACE", "FONT", "META")
"""Object types that have faces, at least when rendered."""
UNREAD = {"CURVES": "hair", "POINTCLOUD": "points", "VOLUME": "a volume", "GREASEPENCIL": "drawn strokes"}
Found = TypeVar("Found")
EDGE = 0.01
"""How far UVs may exceed the image before its extension mode matters."""


class Piece(NamedTuple):
    """One object's triangles in world coordinates; UVs are 0 if absent; indices are local to the piece."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    corner_uv: NDArray[np.float32]
    corner_color: NDArray[np.float32]
    """[F,3,3] linear RGB, 1 without vertex colours."""
    material: NDArray[np.int64]
    blocks: list[bpy.types.Material | None]
    reach: float
    """Its largest single-precision coordinate, in world metres."""
    hung: Hung
    """How its vertices hang on bones."""
    source: bpy.types.Object
    owner: NDArray[np.int64]
    """[V] the vertex of the evaluated ``source`` that each vertex is."""
    world: NDArray[np.float64]
    """[4,4] from the object's coordinates."""


def read_objects(
    before: set[bpy.types.ID],
    most_triangles: int,
    surface_of: Callable[[bpy.types.Material | None], ImportedSurface],
    warnings: list[str],
) -> list[Piece]:
    """The triangles of all imported objects that are not in ``before``, without hidden helpers.

    Modifiers, poses, morph weights and instances are evaluated at the first frame. Meshes of more than
    ``most_triangles`` are decimated, with a warning.
    """
    objects = [obj for obj in bpy.data.objects if obj not in before]
    for obj in objects:
        obj.hide_viewport = False  # `hide_render` alone decides what is rendered
        for modifier in obj.modifiers:
            modifier.show_viewport = modifier.show_render
    bpy.context.scene.frame_set(1)
    order = {obj: place for place, obj in enumerate(objects)}
    total = sum(_rendered(order, _count, warnings))
    if total > most_triangles:
        warnings.append(f"{total} triangles were reduced to {most_triangles}")
        _reduce(objects, most_triangles / total)
    return [
        piece
        for piece in _rendered(order, lambda obj, world: _read(obj, world, surface_of, warnings), warnings)
        if len(piece.faces)
    ]


def _rendered(
    order: dict[bpy.types.Object, int],
    read: Callable[[bpy.types.Object, NDArray[np.float64]], Found],
    warnings: list[str],
) -> list[Found]:
    """The results of ``read`` for each evaluated, rendered object and its matrix, by index of the original."""
    bpy.context.view_layer.update()
    results: list[tuple[int, Found]] = []
    for instance in bpy.context.evaluated_depsgraph_get().object_instances:
        obj = instance.object
        original = obj.original
        if original not in order or not instance.show_self or original.hide_render:
            continue
        if obj.type in SURFACES:
            results.append((order[original], read(obj, np.array(instance.matrix_world, np.float64))))
        elif obj.type in UNREAD:
            warnings.append(f"{original.name} is {UNREAD[obj.type]} and not a surface: it is ignored")
    return [result for _, result in sorted(results, key=lambda item: item[0])]


def _count(obj: bpy.types.Object, _world: NDArray[np.float64]) -> int:
    mesh = obj.to_mesh()
    count = sum(len(polygon.vertices) - 2 for polygon in mesh.polygons) if mesh is not None else 0
    obj.to_mesh_clear()
    return count


def _reduce(objects: Sequence[bpy.types.Object], ratio: float) -> None:
    """Decimate the objects to about ``ratio`` of their triangles (edge collapse)."""
    for obj in objects:
        if obj.type == "MESH":
            modifier = obj.modifiers.new("decimate", "DECIMATE")
            modifier.ratio, modifier.use_collapse_triangulate = ratio, True


def _read(
    obj: bpy.types.Object,
    world: NDArray[np.float64],
    surface_of: Callable[[bpy.types.Material | None], ImportedSurface],
    warnings: list[str],
) -> Piece:
    mesh = obj.to_mesh()
    mesh.calc_loop_triangles()
    triangles, loops = mesh.loop_triangles, len(mesh.loops)
    vertices = _get(mesh.vertices, "co", np.float32, (len(mesh.vertices), 3))
    corners = _get(triangles, "loops", np.int32, (len(triangles), 3))
    faces = _get(triangles, "vertices", np.int32, (len(triangles), 3)).astype(np.int64)
    normals = _get(mesh.corner_normals, "vector", np.float32, (loops, 3))[corners]
    blocks = [slot.material and slot.material.original for slot in obj.material_slots] or [None]
    material = np.clip(_get(triangles, "material_index", np.int32, (len(triangles),)), 0, len(blocks) - 1)
    surfaces = [surface_of(block) for block in blocks]
    corner_uv = np.zeros((len(triangles), 3, 2), np.float32)
    corner_color = np.ones((len(triangles), 3, 3), np.float32)
    for number, surface in enumerate(surfaces):
        here = material == number
        if here.any():
            corner_uv[here] = _uv(mesh, surface, corners[here], warnings)
            corner_color[here] = _colors(mesh, surface, faces[here], corners[here], warnings)
    hanging = hung(obj, mesh, world, warnings)
    obj.to_mesh_clear()
    points = vertices @ world[:3, :3].T + world[:3, 3]
    owner, faces = split_creases(faces, normals)
    if np.linalg.det(world[:3, :3]) < 0:  # a mirrored object is inside out
        faces, corner_uv, corner_color = faces[:, ::-1], corner_uv[:, ::-1], corner_color[:, ::-1]
    scale = np.linalg.norm(world[:3, :3], axis=0).max()
    reach = max(float(abs(vertices).max(initial=0)) * scale, float(abs(world[:3, 3]).max()))
    hanging = hanging._replace(weights=hanging.weights[owner])
    return Piece(
        points[owner],
        faces,
        corner_uv,
        corner_color,
        material.astype(np.int64),
        blocks,
        reach,
        hanging,
        obj.original,
        owner,
        world,
    )


def _uv(
    mesh: bpy.types.Mesh, surface: ImportedSurface, corners: NDArray[np.int32], warnings: list[str]
) -> NDArray[np.float32]:
    """Texture coordinates of corners ``[F, 3]`` under the image's mapping: float32 ``[F, 3, 2]``."""
    layer, placement = mesh.uv_layers.active, surface.placement
    if placement is not None and placement.uv:
        layer = mesh.uv_layers.get(placement.uv, layer)
    if layer is None:
        return np.zeros((*corners.shape, 2), np.float32)
    uv = _get(layer.uv, "vector", np.float32, (len(mesh.loops), 2))[corners]
    if placement is None:
        return uv
    matrix = np.array(placement.matrix).reshape(2, 3)
    if not np.array_equal(matrix, np.eye(2, 3)):
        uv = (uv @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    if placement.extension != "REPEAT" and (uv.min() < -EDGE or uv.max() > 1 + EDGE):
        kind = {"EXTEND": "extends its edge pixels", "MIRROR": "mirrors", "CLIP": "is clipped"}[placement.extension]
        warnings.append(f"the image of {surface.material.name} {kind} beyond its edges: it is repeated instead")
    return uv


def _colors(
    mesh: bpy.types.Mesh,
    surface: ImportedSurface,
    faces: NDArray[np.int64],
    corners: NDArray[np.int32],
    warnings: list[str],
) -> NDArray[np.float32]:
    """Vertex colours at the corners of faces ``[F, 3]``: float32 ``[F, 3, 3]``."""
    held = mesh.color_attributes
    unused = not surface.vertex_colors
    layer = held.active_color if surface.vertex_colors in ("", "*") else held.get(surface.vertex_colors)
    if layer is None and len(held):
        layer = held[0]
    if layer is None or layer.domain not in ("POINT", "CORNER"):
        return np.ones((*faces.shape, 3), np.float32)
    count = len(mesh.vertices) if layer.domain == "POINT" else len(mesh.loops)
    rgb = _get(layer.data, "color", np.float32, (count, 4))[:, :3][faces if layer.domain == "POINT" else corners]
    if unused:
        if surface.material.texture is None and (rgb != 1).any():
            warnings.append(f"the material {surface.material.name} does not use the mesh's vertex colours: ignored")
        return np.ones_like(rgb)
    return rgb


def _get(items: Any, attribute: str, kind: type, shape: tuple[int, ...]) -> NDArray:
    values: NDArray = np.empty(int(np.prod(shape)), kind)
    items.foreach_get(attribute, values)
    return values.reshape(shape)
