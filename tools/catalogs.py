"""The catalogs a run can be made from: procedural models, or those of an installed pack."""

from typing import Literal

from assets.catalog import Catalog
from assets.procedural import procedural_catalog
from assets.store import AssetStore
from assets.surroundings import hdri_catalog
from vosforge.log import console

Source = Literal["procedural", "sweethome3d"]


def build_catalog(source: Source, num_meshes: int, num_textures: int, seed: int, store: AssetStore) -> Catalog:
    """Models from ``source``, procedural images and the HDRIs of bpy's wheel, all prepared in ``store``."""
    console.print(f"preparing {num_meshes} {source} models, {num_textures} textures and the surroundings")
    return procedural_catalog(store, num_meshes, num_textures, seed) + hdri_catalog(store)
