"""Rendering a data set from the command line: settings and assets are chosen once, then pinned in its folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from assets.catalog import Catalog
from assets.store import AssetStore
from render.head import check_head
from render.jobs import Dataset, DatasetConfig, begun_with
from render.layout import WHOLE_MACHINE, Resources
from render.process import cards_of
from render.shards import ShardSet
from tools.catalogs import build_catalog
from tools.importing import PIN
from tools.progress import render_with_progress, shown
from vosforge.config import read_config
from vosforge.errors import InputError
from vosforge.log import console


class Rendered(NamedTuple):
    """A data set after a run, and how many of its videos are still missing: neither sealed nor quarantined."""

    shards: ShardSet
    missing: int


def render_to(
    out: Path,
    config: Path | None,
    settings: Sequence[str],
    resources: Resources = WHOLE_MACHINE,
    retry_quarantined: bool = False,
) -> Rendered:
    """Render the data set at ``out``, or what it still lacks, and return it.

    A folder that was begun keeps the settings and assets pinned in it: they are the defaults then, and other ones are
    refused with an InputError. ``retry_quarantined``: quarantined videos lack, too. VOSForgeError, before anything is
    written, when this machine lacks the device, or no Ray cluster is where one should be.
    """
    wanted = read_config(DatasetConfig, config, settings, None if config else begun_with(out))
    if resources.address is not None:
        check_head(resources.address)
    elif resources.device != "cpu":
        cards_of(resources.device)
    store = AssetStore()
    dataset = open_dataset(out, wanted, store)
    render_with_progress(dataset, store, resources, retry_quarantined)
    return Rendered(ShardSet(out), len(dataset.missing()))


def open_dataset(root: Path, config: DatasetConfig, store: AssetStore) -> Dataset:
    """The data set at ``root``: begun now, with a catalog made as ``config`` says, or before.

    Raises InputError when it was begun with other settings, or holds imported videos.
    """
    if (root / PIN).exists():
        raise InputError(f"{root} holds imported videos: render into another folder")
    if begun_with(root):
        console.print(f"{shown(root)} was begun before, reusing its catalog")
        return Dataset(root, config, Catalog.load(root / "catalog.jsonl"))
    return Dataset(root, config, build_catalog(config.assets, config.seed, store))
