"""Rendering a data set from the command line: settings and assets are chosen once, then pinned in its folder."""

from collections.abc import Sequence
from pathlib import Path

from assets.catalog import Catalog
from assets.store import AssetStore
from render.jobs import Dataset, DatasetConfig
from render.shards import ShardSet
from tools.catalogs import AssetSettings, build_catalog
from tools.progress import render_with_progress
from vosforge.config import read_config


def render_to(
    out: Path,
    config: Path | None,
    settings: Sequence[str],
    assets: AssetSettings,
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
    catalog = Catalog.load(catalog_path) if begun else build_catalog(assets, wanted.seed, store)
    render_with_progress(Dataset(out, wanted, catalog), store, workers, address)
    return ShardSet(out)
