"""Imports mesh files through Blender's importers. Runs in a Blender worker process only.

Files are read, never executed. Images are read only from the user's folder.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import bpy
import numpy as np

from assets.catalog import Asset
from assets.coordinates import check_coordinates
from assets.models import MESH_SUFFIXES, Model, asset_of
from assets.packs import unpack_model
from assets.prepared import Material, PreparedMesh, prepare_mesh
from assets.references import check_references
from assets.store import AssetStore
from blender_scenes.blender.mesh_joints import read_skeleton
from blender_scenes.blender.mesh_materials import Materials
from blender_scenes.blender.mesh_morphs import read_morphs
from blender_scenes.blender.mesh_objects import read_objects
from vosforge.errors import InputError

# OBJ's importer leaves a rotation on the objects, which `_read_object` applies.
IMPORTERS: dict[str, Callable[..., Any]] = {
    ".obj": lambda path: bpy.ops.wm.obj_import(filepath=path, forward_axis="NEGATIVE_Z", up_axis="Y"),
    ".ply": lambda path: bpy.ops.wm.ply_import(filepath=path),
    ".stl": lambda path: bpy.ops.wm.stl_import(filepath=path),
    **dict.fromkeys((".gltf", ".glb"), lambda path: bpy.ops.import_scene.gltf(filepath=path, disable_bone_shape=True)),
    ".fbx": lambda path: bpy.ops.import_scene.fbx(filepath=path),
    # Images in a USD archive are extracted; images beside a USD file are read in place.
    ".usdz": lambda path: bpy.ops.wm.usd_import(filepath=path, import_textures_mode="IMPORT_PACK"),
    **dict.fromkeys(
        (".usd", ".usda", ".usdc"),
        lambda path: bpy.ops.wm.usd_import(filepath=path, import_textures_mode="IMPORT_NONE"),
    ),
}
assert set(IMPORTERS) == set(MESH_SUFFIXES)
DATA_BLOCKS = (
    *("objects", "meshes", "curves", "armatures", "lights", "cameras", "hair_curves", "pointclouds", "volumes"),
    *("materials", "images", "node_groups", "worlds", "actions", "collections", "scenes"),
)
"""Data that importers leave in Blender, removed after reading."""
ROUNDED_FROM = 2000.0
"""Coordinates this many times a mesh's size lose details below 1/10,000 of it in single precision."""
LARGEST_FILE = 2 * 2**30
MAX_TRIANGLES = 500_000
# More transparent surfaces are invisible, so they must not appear in masks either.
SEEN_ALPHA = 0.02


class ImportedMesh(NamedTuple):
    """A mesh file's content, and warnings about unusable parts, one line each."""

    mesh: PreparedMesh
    warnings: tuple[str, ...]


def import_mesh(path: Path, store: AssetStore, root: Path | None = None) -> ImportedMesh:
    """Import ``path`` as one mesh, z up and unit-normalised; its images go into ``store``.

    All objects of the file are merged, with their materials, UVs and shading. OBJ, glTF and FBX files declare their up
    axis or use y; PLY and STL files are assumed to use z. Meshes of more than `MAX_TRIANGLES` are decimated, with a
    warning. Images that are missing, broken or outside ``root`` (default: the file's folder) are omitted, with a
    warning. Bones and weights become a skeleton, whose rest is the pose of the file's first frame; those that
    `assets.skeletons` refuses leave the mesh rigid, with a warning. Shape keys become morphs, added to what the first
    frame has of them. Raises InputError for invalid meshes, OSError for unreadable files.
    """
    importer = IMPORTERS.get(path.suffix.lower())
    if importer is None:
        raise InputError(f"{path} is not a supported mesh file: give one of {', '.join(IMPORTERS)}")
    if not path.is_file():
        raise InputError(f"the mesh file {path} does not exist: check the path")
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"{path} is over {LARGEST_FILE >> 30} GiB: leave it out or reduce it")
    check_references(path, root)
    before = _data_blocks()
    try:
        with tempfile.TemporaryDirectory(prefix="vosforge-mesh-") as scratch:
            checked = check_coordinates(path, root or path.parent, Path(scratch))
            importer(str(checked.path))
            return _read(path, root or path.parent, store, before, checked.warnings)
    except (RuntimeError, InputError) as error:  # Blender's operators raise RuntimeError
        with path.open("rb") as file:  # raises OSError if the file itself is unreadable
            while file.read(2**24):
                pass
        if isinstance(error, InputError):
            raise
        raise InputError(f"Blender cannot read {path} ({' '.join(str(error).split())}): export it again") from None
    finally:
        bpy.data.batch_remove(_data_blocks() - before)


def prepare_model(model: Model, store: AssetStore) -> tuple[Asset, tuple[str, ...]]:
    """Import a model, also from an archive, into ``store``; returns its catalog entry and warnings."""
    if not model.member:
        imported = import_mesh(model.path, store, model.root)
    else:
        with tempfile.TemporaryDirectory(prefix="vosforge-model-") as folder:
            imported = import_mesh(unpack_model(model, Path(folder)), store, Path(folder))
    return asset_of(model, imported.mesh, store), imported.warnings


def _data_blocks() -> set[bpy.types.ID]:
    return {block for kind in DATA_BLOCKS for block in getattr(bpy.data, kind)}


def _read(
    path: Path, root: Path, store: AssetStore, before: set[bpy.types.ID], warnings: tuple[str, ...]
) -> ImportedMesh:
    """Read the importer's output: all data blocks that are not in ``before``."""
    materials = Materials(path.parent, root, store)
    surface_of = functools.cache(materials.read)
    pieces = read_objects(before, MAX_TRIANGLES, surface_of, materials.warnings)
    if not pieces:
        raise InputError(f"{path} holds no triangles: it is empty or not a mesh; leave it out or export it again")
    blocks = list(dict.fromkeys(block for piece in pieces for block in piece.blocks))
    looks = [surface_of(block).material for block in blocks]
    corner_color = np.concatenate([piece.corner_color for piece in pieces])
    number_of = {block: number for number, block in enumerate(blocks)}
    face_material = np.concatenate([np.array([number_of[b] for b in p.blocks])[p.material] for p in pieces])
    for number, block in enumerate(blocks):
        if block is None and (corner_color[face_material == number] != 1).any():
            looks[number] = Material(base_color=(1.0, 1.0, 1.0))  # its colour comes from vertex colours only
    starts = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    faces = np.concatenate([piece.faces + start for piece, start in zip(pieces, starts, strict=False)])
    corner_uv = np.concatenate([piece.corner_uv for piece in pieces])
    seen = np.array([look.alpha > SEEN_ALPHA for look in looks])[face_material]
    if not seen.any():
        raise InputError(f"{path} is fully transparent: leave it out")
    vertices = np.concatenate([piece.vertices for piece in pieces])
    reach = max(piece.reach for piece in pieces) / max(float(np.linalg.norm(np.ptp(vertices, axis=0))), 1e-30)
    if reach > ROUNDED_FROM:
        materials.warnings.append(
            f"it lies {reach:.0f} times its size from the origin and loses precision: export it near the origin"
        )
    mesh = prepare_mesh(
        path.name,
        vertices,
        faces[seen],
        corner_uv[seen] if corner_uv.any() else None,
        True,
        face_material[seen],
        looks,
        corner_color[seen],
        read_skeleton([piece.hung for piece in pieces], materials.warnings),
        read_morphs(pieces, materials.warnings),
    )
    return ImportedMesh(mesh, tuple(dict.fromkeys((*warnings, *materials.warnings))))
