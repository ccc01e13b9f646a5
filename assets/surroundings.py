"""Surroundings that light a scene: the CC0 HDRIs that come with Blender's Python wheel."""

import importlib.util
from pathlib import Path

from assets.catalog import Asset, Catalog
from assets.store import AssetStore
from vosforge.errors import VOSForgeError


def hdri_catalog(store: AssetStore) -> Catalog:
    """A catalog of the wheel's HDRIs, copied into ``store``. Raises VOSForgeError if bpy is not installed."""
    return Catalog.of(
        Asset(
            hash=store.put_hdri(path),
            kind="hdri",
            name=path.stem,
            category="surroundings",
            source=f"bpy/{path.name}",
            licence="CC0-1.0",
            creator="Greg Zaal (Poly Haven)",
        )
        for path in bundled_hdris()
    )


def bundled_hdris() -> tuple[Path, ...]:
    """The HDRI files in bpy's wheel, sorted by name, found without importing bpy."""
    found = importlib.util.find_spec("bpy")
    folders = list(found.submodule_search_locations or ()) if found else []
    files = [path for folder in folders for path in Path(folder).glob("*/datafiles/studiolights/world/*.exr")]
    if not files:
        raise VOSForgeError("no HDRIs were found: install Blender's Python module with pip install 'vosforge[render]'")
    return tuple(sorted(files, key=lambda path: path.name))
