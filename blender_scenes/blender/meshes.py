"""Blender meshes from arrays."""

import bpy
import numpy as np

from assets.prepared import PreparedMesh
from blender_scenes.geometry import plane_corners
from blender_scenes.spec import MirrorSpec, PlaneSpec

MAX_SMART_FACES = 1000
REST = "rest"
"""The mesh attribute of each vertex's position in the undeformed bounding box, 0..1 per axis."""

PAINTED = "painted"
"""The colour attribute that multiplies the materials' colours."""


def mesh_from_arrays(name: str, prepared: PreparedMesh) -> bpy.types.Mesh:
    """A Blender mesh with the prepared mesh's triangles, UVs, smoothing and material slots (no materials yet)."""
    mesh = bpy.data.meshes.new(name)
    faces = len(prepared.faces)
    mesh.vertices.add(len(prepared.vertices))
    mesh.vertices.foreach_set("co", prepared.vertices.ravel())
    mesh.loops.add(3 * faces)
    mesh.loops.foreach_set("vertex_index", prepared.faces.ravel())
    mesh.polygons.add(faces)
    mesh.polygons.foreach_set("loop_start", np.arange(0, 3 * faces, 3, dtype=np.int32))
    mesh.polygons.foreach_set("material_index", prepared.material_index.astype(np.int32))
    mesh.polygons.foreach_set("use_smooth", prepared.smooth)
    if prepared.corner_uv is not None:
        layer = mesh.uv_layers.new(name="uv")
        layer.uv.foreach_set("vector", prepared.corner_uv.astype(np.float32).ravel())
    if prepared.corner_color is not None:
        colors = mesh.color_attributes.new(PAINTED, "FLOAT_COLOR", "CORNER")
        rgba = np.insert(prepared.corner_color.reshape(-1, 3), 3, 1.0, axis=1)
        colors.data.foreach_set("color", rgba.astype(np.float32).ravel())
    rest = mesh.attributes.new(REST, "FLOAT_VECTOR", "POINT")
    rest.data.foreach_set("vector", prepared.box_places.ravel())
    mesh.update(calc_edges=True)
    return mesh


def unwrap(obj: bpy.types.Object) -> None:
    """Give a linked mesh object new UVs in [0, 1]: smart projection, or cylindrical for large meshes.

    BL30K does the same, with the same limit.
    """
    mesh = obj.data
    while mesh.uv_layers:
        mesh.uv_layers.remove(mesh.uv_layers[0])
    layer = mesh.uv_layers.new(name="uv")
    if len(mesh.polygons) >= MAX_SMART_FACES:
        layer.uv.foreach_set("vector", _cylinder_uv(mesh).ravel())
        return
    bpy.context.view_layer.objects.active = obj
    obj.select_set(True)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.mesh.select_all(action="SELECT")
    bpy.ops.uv.smart_project()
    bpy.ops.object.mode_set(mode="OBJECT")
    obj.select_set(False)


def corner_geometry(obj: bpy.types.Object) -> tuple[np.ndarray | None, np.ndarray]:
    """The UVs of a triangle mesh's corners, float32 ``[F, 3, 2]`` or None, and their normals, ``[F, 3, 3]``.

    The normals are those of its present shape, in its own axes.
    """
    mesh = obj.data
    if mesh.shape_keys:
        mesh = obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    faces, uv = len(mesh.polygons), None
    if mesh.uv_layers:
        uv = np.empty((faces, 3, 2), np.float32)
        mesh.uv_layers[0].uv.foreach_get("vector", uv.ravel())
    normals = np.empty((faces, 3, 3), np.float32)
    mesh.corner_normals.foreach_get("vector", normals.ravel())
    return uv, normals


def _cylinder_uv(mesh: bpy.types.Mesh) -> np.ndarray:
    """UVs of a triangle mesh's corners, float32 ``[F, 3, 2]``: the angle about z, and the height."""
    points = np.empty(3 * len(mesh.vertices), np.float32)
    corners = np.empty(len(mesh.loops), np.int32)
    mesh.vertices.foreach_get("co", points)
    mesh.loops.foreach_get("vertex_index", corners)
    x, y, z = points.reshape(-1, 3)[corners].reshape(-1, 3, 3).transpose(2, 0, 1)
    turn = np.arctan2(y, x) / (2 * np.pi) + 0.5
    # A triangle across the seam would show the whole image mirrored; its low corners go on past 1 instead.
    turn = np.where((turn.max(axis=1, keepdims=True) - turn) > 0.5, turn + 1, turn)
    height = (z - z.min()) / max(float(np.ptp(z)), 1e-9)
    return np.stack([turn, height], axis=-1).astype(np.float32)


def plane_mesh(name: str, plane: PlaneSpec, facing: int) -> bpy.types.Mesh:
    """A plane that faces an axis, centred on it."""
    vertices, uv = plane_corners(plane, facing)
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], [(0, 1, 2, 3)])
    mesh.uv_layers.new(name="uv").uv.foreach_set("vector", uv.astype(np.float32).ravel())
    return mesh


def mirror_mesh(mirror: MirrorSpec) -> bpy.types.Mesh:
    """A mirror in its own axes: the mirror itself, of material 0, and the four sides of its frame, of material 1."""
    outer = np.array([mirror.width, mirror.height]) / 2
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    vertices = np.insert(np.concatenate([corners * (outer - mirror.frame), corners * outer]), 1, 0.0, axis=1)
    sides = [(k + 4, (k + 1) % 4 + 4, (k + 1) % 4, k) for k in range(4)] if mirror.frame else []
    mesh = bpy.data.meshes.new("mirror")
    mesh.from_pydata(vertices.tolist(), [], [(0, 1, 2, 3), *sides])
    mesh.polygons.foreach_set("material_index", np.array([0] + [1] * len(sides), np.int32))
    return mesh
