"""Rendering a data set from the command line: settings and assets are chosen once, then pinned in its folder."""

from collections.abc import Sequence
from pathlib import Path

from assets import Source
from assets.catalog import Catalog
from assets.store import AssetStore
from render.jobs import Dataset, DatasetConfig
from render.shards import ShardSet
from tools.catalogs import build_catalog
from tools.progress import render_with_progress
from vosforge.config import read_config


def render_to(
    out: Path,
    config: Path | None,
    settings: Sequence[str],
    assets: Source,
    num_meshes: int,
    num_textures: int,
    workers: int | None,
    address: str | None,
) -> ShardSet:
    """Render the data set at ``out``, or what it still lacks, and return it.

    A folder that was begun keeps the settings and assets pinned in it: they are the defaults then, and other ones are
    refused with an InputError.
    """
    pinned, catalog_path = out / "dataset.yaml", out / "catalog.jsonl"
    begun = pinned.exists() and catalog_path.exists()
    wanted = read_config(DatasetConfig, config or (pinned if begun else None), settings)
    store = AssetStore()
    if begun:
        catalog = Catalog.load(catalog_path)
    else:
        catalog = build_catalog(assets, num_meshes, num_textures, wanted.seed, store)
    render_with_progress(Dataset(out, wanted, catalog), store, workers, address)
    return ShardSet(out)
