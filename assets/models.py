"""A model before it is prepared: what is known without reading its file."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from assets.catalog import Asset
from assets.prepared import PreparedMesh, prepare_mesh
from assets.store import AssetStore
from vosforge.config import Record

MESH_SUFFIXES = (".obj", ".ply", ".stl", ".glb", ".gltf", ".usd", ".usda", ".usdc", ".usdz", ".fbx")

# SweetHome3D's models have y up; this turns them z up, as Blender's importer does.
Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


class Model(Record):
    """One model of a pack or a folder, with its creator and licence."""

    name: str
    category: str
    source: str
    """How the catalog names where it came from."""
    licence: str
    creator: str
    path: Path
    """The mesh file, or the archive that holds it."""
    member: str = ""
    """The mesh file's name inside the archive; "" for a mesh file."""
    root: Path | None = None
    """The folder whose files the mesh file may use; None for its own."""
    rotation: tuple[float, ...] = ()
    """Row-wise 3×3 matrix, in y-up axes, that sets the model upright; () if it already is."""


def pick_models(models: Sequence[Model], count: int, rng: np.random.Generator) -> tuple[Model, ...]:
    """Up to ``count`` of the models in random order, cycling through the categories."""
    by_category: dict[str, list[Model]] = {}
    for index in rng.permutation(len(models)):
        by_category.setdefault(models[index].category, []).append(models[index])
    turns = [model for lap in zip_longest(*by_category.values()) for model in lap if model is not None]
    return tuple(turns[:count])


def asset_of(model: Model, mesh: PreparedMesh, store: AssetStore) -> Asset:
    """The catalog's entry for a model whose mesh was imported; the mesh, set upright, is put into ``store``."""
    skeleton = mesh.skeleton
    if model.rotation:
        turn = Z_UP @ np.array(model.rotation).reshape(3, 3) @ Z_UP.T
        mesh = prepare_mesh(
            model.source,
            mesh.vertices @ turn.T,
            mesh.faces,
            mesh.corner_uv,
            mesh.smooth,
            mesh.material_index,
            mesh.materials,
            mesh.corner_color,
            None if skeleton is None else skeleton._replace(places=skeleton.places @ turn.T),
            None if mesh.morphs is None else mesh.morphs @ turn.T,
        )
    return Asset(
        hash=store.put_mesh(mesh),
        kind="mesh",
        name=model.name,
        category=model.category,
        source=model.source,
        licence=model.licence,
        creator=model.creator,
        textures=mesh.textures,
        joints=() if skeleton is None else tuple(skeleton.parents.tolist()),
        morphs=0 if mesh.morphs is None else len(mesh.morphs),
    )
