"""The catalogs a run can be made from: procedural models, or those of an installed pack."""

import tempfile
from pathlib import Path

from assets import Source
from assets.catalog import Asset, Catalog
from assets.packs import pack_models, pick_models
from assets.procedural import procedural_catalog
from assets.store import AssetStore
from assets.surroundings import hdri_catalog
from render.process import BlenderProcess
from tools.progress import counting
from vosforge.errors import VOSForgeError
from vosforge.log import console, logger
from vosforge.seeding import rng_for


def build_catalog(source: Source, num_meshes: int, num_textures: int, seed: int, store: AssetStore) -> Catalog:
    """Models from ``source``, procedural images and the HDRIs of bpy's wheel, all prepared in ``store``.

    Raises InputError when the pack is not installed, VOSForgeError when none of its models can be prepared.
    """
    console.print(f"preparing {num_meshes} {source} models, {num_textures} textures and the surroundings")
    surroundings = hdri_catalog(store)
    if source == "procedural":
        return procedural_catalog(store, num_meshes, num_textures, seed) + surroundings
    textures = procedural_catalog(store, 0, num_textures, seed)
    return _pack_catalog(source, num_meshes, seed, store) + textures + surroundings


def _pack_catalog(pack: str, count: int, seed: int, store: AssetStore) -> Catalog:
    """``count`` models of a pack, prepared in a Blender process; those that cannot be are named and left out."""
    chosen = pick_models(pack_models(pack), count, rng_for(seed, "pack", pack))
    assets: list[Asset] = []
    with (
        tempfile.TemporaryDirectory(prefix="vosforge-prepare-") as folder,
        BlenderProcess(Path(folder) / "blender.log") as blender,
        counting("preparing", len(chosen)) as advance,
    ):
        for model in chosen:
            try:
                *_, outcome = blender.run({"do": "prepare", "model": model, "store": str(store.root.resolve())})
                assets.append(outcome["done"])
                for warning in outcome["warnings"]:
                    logger.warning("%s: %s", model.name, warning)
            except VOSForgeError as error:
                logger.warning("left out: %s", error)
            advance(model.name)
    if not assets:
        raise VOSForgeError(f"none of the models of {pack} could be prepared: the lines above say why")
    return Catalog.of(assets)
