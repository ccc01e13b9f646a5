"""Mesh files to prepared meshes, by Blender's importers. Runs inside a Blender worker process only.

Files are read, never executed, and images are taken from the folder the user named only.
"""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import bpy
import numpy as np
from numpy.typing import NDArray

from assets.catalog import Asset
from assets.creases import split_creases
from assets.folders import MESH_SUFFIXES
from assets.models import Model, asset_of
from assets.packs import unpack_model
from assets.prepared import PreparedMesh, prepare_mesh
from assets.references import check_references
from assets.store import AssetStore
from blender_scenes.blender.mesh_materials import read_material
from vosforge.errors import InputError

# OBJ's importer leaves a rotation on the objects, which `_read_object` applies.
IMPORTERS: dict[str, Callable[..., Any]] = {
    ".obj": lambda path: bpy.ops.wm.obj_import(filepath=path, forward_axis="NEGATIVE_Z", up_axis="Y"),
    ".ply": lambda path: bpy.ops.wm.ply_import(filepath=path),
    ".stl": lambda path: bpy.ops.wm.stl_import(filepath=path),
    ".gltf": lambda path: bpy.ops.import_scene.gltf(filepath=path),
    ".glb": lambda path: bpy.ops.import_scene.gltf(filepath=path),
    ".fbx": lambda path: bpy.ops.import_scene.fbx(filepath=path),
    # Images of a USD archive are taken from inside it; those beside a USD file are looked at where they are.
    ".usdz": lambda path: bpy.ops.wm.usd_import(filepath=path, import_textures_mode="IMPORT_PACK"),
    **dict.fromkeys(
        (".usd", ".usda", ".usdc"),
        lambda path: bpy.ops.wm.usd_import(filepath=path, import_textures_mode="IMPORT_NONE"),
    ),
}
assert set(IMPORTERS) == set(MESH_SUFFIXES)
LARGEST_FILE = 2 * 2**30
MOST_TRIANGLES = 500_000
NOT_A_NUMBER = re.compile(rb"^v[ \t][^\n]*?[ \t][-+]?(nan|inf)", re.MULTILINE)
# What lets more light through than this is not seen, so it must not be in a mask either.
SEEN_ALPHA = 0.02


class ImportedMesh(NamedTuple):
    """A mesh file's content and what of it could not be used, one line each."""

    mesh: PreparedMesh
    warnings: tuple[str, ...]


def import_mesh(path: Path, store: AssetStore, root: Path | None = None) -> ImportedMesh:
    """The mesh file ``path``, z up and unit-normalised; its images go into ``store``.

    OBJ, glTF and FBX files have y up, or say so; PLY and STL files are taken to have z up. Meshes of more than
    `MOST_TRIANGLES` are decimated, with a warning.

    All objects of the file become one mesh with their materials, UVs and shading. An image that is missing, broken
    or outside ``root`` (by default the file's folder) is left out with a warning.
    Raises InputError for files that are no mesh, OSError for those that the machine cannot read.
    """
    importer = IMPORTERS.get(path.suffix.lower())
    if importer is None:
        raise InputError(f"{path} is no mesh file VOSForge reads: give one of {', '.join(IMPORTERS)}")
    if not path.is_file():
        raise InputError(f"the mesh file {path} does not exist: check the path")
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"{path} is over {LARGEST_FILE >> 30} GiB: leave it out or reduce it")
    if path.suffix.lower() == ".obj" and _has_nan(path.read_bytes()):
        raise InputError(f"the mesh {path} has vertices that are not numbers (NaN or infinite): export it again")
    check_references(path, root)
    before = _data_blocks()
    try:
        importer(str(path))
        return _read_new_objects(path, store, before, root or path.parent)
    except (RuntimeError, InputError) as error:  # Blender's operators raise RuntimeError
        with path.open("rb") as file:  # OSError where it is not the file's content that Blender could not read
            while file.read(2**24):
                pass
        if isinstance(error, InputError):
            raise
        raise InputError(f"Blender cannot read {path} ({' '.join(str(error).split())}): export it again") from None
    finally:
        bpy.data.batch_remove(_data_blocks() - before)


def prepare_model(model: Model, store: AssetStore) -> tuple[Asset, tuple[str, ...]]:
    """Import a model, out of its archive if it is in one, and put it into ``store``: its catalog entry and warnings."""
    if not model.member:
        imported = import_mesh(model.path, store, model.root)
    else:
        with tempfile.TemporaryDirectory(prefix="vosforge-model-") as folder:
            imported = import_mesh(unpack_model(model, Path(folder)), store, Path(folder))
    return asset_of(model, imported.mesh, store), imported.warnings


def _has_nan(obj: bytes) -> bool:
    """Whether a vertex of an OBJ file is not a number, which Blender's importer would quietly read as 0."""
    lower = obj.lower()
    return any(word in lower for word in (b"nan", b"inf")) and bool(NOT_A_NUMBER.search(lower))


def _data_blocks() -> set[bpy.types.ID]:
    held = (bpy.data.objects, bpy.data.meshes, bpy.data.materials, bpy.data.images, bpy.data.collections)
    return {block for blocks in held for block in blocks}


class _Piece(NamedTuple):
    """One object's triangles in world coordinates, UVs 0 where it has none; all indices count within the piece."""

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    corner_uv: NDArray[np.float32]
    material: NDArray[np.int64]
    materials: list[bpy.types.Material | None]


def _read_new_objects(path: Path, store: AssetStore, before: set[bpy.types.ID], root: Path) -> ImportedMesh:
    objects = [obj for obj in bpy.data.objects if obj not in before and obj.type == "MESH"]
    bpy.context.view_layer.update()
    warnings: list[str] = []
    triangles = sum(len(polygon.vertices) - 2 for obj in objects for polygon in obj.data.polygons)
    if triangles > MOST_TRIANGLES:
        warnings.append(f"{triangles} triangles were reduced to {MOST_TRIANGLES}")
        _decimate(objects, MOST_TRIANGLES / triangles)
    pieces = [piece for obj in objects if len((piece := _read_object(obj)).faces)]
    if not pieces:
        raise InputError(f"{path} holds no triangles: it is empty or no mesh, leave it out or export it again")
    used = [block for piece in pieces for block in piece.materials]
    read = {block: read_material(block, path.parent, root, store, warnings) for block in used}
    blocks = list(read)
    face_material = np.concatenate([np.array([blocks.index(b) for b in p.materials])[p.material] for p in pieces])
    starts = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    faces = np.concatenate([piece.faces + start for piece, start in zip(pieces, starts, strict=False)])
    corner_uv = np.concatenate([piece.corner_uv for piece in pieces])
    seen = np.array([read[block].alpha > SEEN_ALPHA for block in blocks])[face_material]
    if not seen.any():
        raise InputError(f"{path} is wholly transparent: leave it out")
    mesh = prepare_mesh(
        path.name,
        np.concatenate([piece.vertices for piece in pieces]),
        faces[seen],
        corner_uv[seen] if corner_uv.any() else None,
        True,
        face_material[seen],
        [read[block] for block in blocks],
    )
    return ImportedMesh(mesh, tuple(dict.fromkeys(warnings)))


def _decimate(objects: list[bpy.types.Object], ratio: float) -> None:
    """Replace the objects' meshes by ones with about the share ``ratio`` of their triangles (edge collapse)."""
    for obj in objects:
        modifier = obj.modifiers.new("decimate", "DECIMATE")
        modifier.ratio, modifier.use_collapse_triangulate = ratio, True
    graph = bpy.context.evaluated_depsgraph_get()
    reduced = [bpy.data.meshes.new_from_object(obj.evaluated_get(graph)) for obj in objects]
    for obj, mesh in zip(objects, reduced, strict=True):
        obj.modifiers.clear()
        obj.data = mesh


def _read_object(obj: bpy.types.Object) -> _Piece:
    mesh = obj.data
    mesh.calc_loop_triangles()
    triangles, loops = mesh.loop_triangles, len(mesh.loops)
    vertices = _get(mesh.vertices, "co", np.float32, (len(mesh.vertices), 3))
    corners = _get(triangles, "loops", np.int32, (len(triangles), 3))
    faces = _get(triangles, "vertices", np.int32, (len(triangles), 3)).astype(np.int64)
    normals = _get(mesh.corner_normals, "vector", np.float32, (loops, 3))[corners]
    corner_uv = np.zeros((len(triangles), 3, 2), np.float32)
    if mesh.uv_layers.active is not None:
        corner_uv = _get(mesh.uv_layers.active.uv, "vector", np.float32, (loops, 2))[corners]
    materials = list(mesh.materials) or [None]
    material = np.clip(_get(triangles, "material_index", np.int32, (len(triangles),)), 0, len(materials) - 1)
    world = np.array(obj.matrix_world, np.float64)
    points = vertices @ world[:3, :3].T + world[:3, 3]
    owner, faces = split_creases(faces, normals)
    if np.linalg.det(world[:3, :3]) < 0:  # a mirrored object is inside out
        faces, corner_uv = faces[:, ::-1], corner_uv[:, ::-1]
    return _Piece(points[owner], faces, corner_uv, material.astype(np.int64), materials)


def _get(items: Any, attribute: str, kind: type, shape: tuple[int, ...]) -> NDArray:
    values: NDArray = np.empty(int(np.prod(shape)), kind)
    items.foreach_get(attribute, values)
    return values.reshape(shape)
