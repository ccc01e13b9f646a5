"""Remembers in the asset store what models and images became, so that nothing is prepared twice.

A record is found by what was prepared (name, licence and path included) and the versions of the code that did it. It
counts while the files it was made from are as they were, and the store has what they became.
"""

import hashlib
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from assets.catalog import Asset
from assets.sources import Sources, Trees
from assets.store import AssetStore
from vosforge import __version__
from vosforge.config import Record
from vosforge.files import write_sealed
from vosforge.trouble import attempting

PREPARING = 3
"""Raise it with every change to what a model or an image becomes."""


class Remembered(Record):
    """What a model or an image became."""

    sources: Sources
    asset: Asset | None
    """None if it cannot be used; the only warning says why."""
    warnings: tuple[str, ...] = ()


@cache
def versions() -> tuple[str, ...]:
    """The versions of all that decides what a model or an image becomes."""
    return (f"preparing {PREPARING}", f"vosforge {__version__}", *(f"{name} {_installed(name)}" for name in PACKAGES))


PACKAGES = ("bpy", "Pillow")


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


class Memory:
    """The records of one store. Processes and threads may share it."""

    def __init__(self, store: AssetStore) -> None:
        self.trees = Trees()
        self._store = store

    def recall(self, what: str, path: Path) -> Remembered | None:
        """What ``what`` became, whose file is ``path``; None if that is unknown, or no longer so."""
        try:
            found = Remembered.model_validate_json(self._path(what).read_bytes())
            same = found.sources.state == self.trees.state(path, found.sources.folder)
        except (OSError, ValueError):  # a record that is missing or damaged, or files that are gone
            return None
        return found if same and (found.asset is None or self._store.holds(found.asset)) else None

    def keep(self, what: str, became: Remembered) -> None:
        """Remember what ``what`` became. Raises MachineError if it cannot be written."""
        path = self._path(what)
        with attempting(f"write to {path.parent}"):
            write_sealed(path, became.model_dump_json())

    def _path(self, what: str) -> Path:
        key = hashlib.sha256(json.dumps([*versions(), what]).encode()).hexdigest()[:32]
        return self._store.root / "remembered" / key[:2] / f"{key}.json"
