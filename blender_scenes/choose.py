"""Choosing assets from a catalog."""

from collections.abc import Container

import numpy as np

from assets.catalog import Asset, AssetKind, Catalog
from vosforge.errors import VOSForgeError
from vosforge.terms import Split


def assets_of(catalog: Catalog, kind: AssetKind, split: Split) -> tuple[Asset, ...]:
    """The assets of one kind. Raises VOSForgeError when the ``catalog`` of ``split`` has none."""
    assets = catalog.of_kind(kind)
    if not assets:
        raise VOSForgeError(f"the catalog has no {kind} for the split '{split}': add more assets of this kind")
    return assets


def pick(rng: np.random.Generator, assets: tuple[Asset, ...], families: Container[str] = ()) -> Asset:
    """One of ``assets``, each about as likely; of those in a category of ``families``, where there are any.

    It takes as much from ``rng`` whatever there is.
    """
    number = int(rng.integers(len(assets)))
    among = tuple(asset for asset in assets if asset.category in families) or assets
    return among[number % len(among)]
