"""Blender meshes from arrays."""

import bpy
import numpy as np

from assets.prepared import PreparedMesh
from blender_scenes.spec import PlaneSpec


def mesh_from_arrays(name: str, prepared: PreparedMesh) -> bpy.types.Mesh:
    """A Blender mesh with the prepared mesh's triangles, UVs, smoothing and material places (no materials yet)."""
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
    mesh.update(calc_edges=True)
    return mesh


def plane_mesh(name: str, plane: PlaneSpec, upright: bool) -> bpy.types.Mesh:
    """A square centred on the origin's axis: upright it faces the camera at y = offset, flat it lies at z = offset."""
    half = plane.size / 2
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]])
    offsets = np.full((4, 1), plane.offset)
    vertices = np.hstack([corners[:, :1], offsets, corners[:, 1:]] if upright else [corners, offsets])
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], [(0, 1, 2, 3)])
    uv = (corners / plane.size + 0.5) * plane.repeat
    mesh.uv_layers.new(name="uv").uv.foreach_set("vector", uv.astype(np.float32).ravel())
    return mesh
