"""The catalog: the available assets, their names, creators, licences and splits.

It names prepared content by hash; the content itself is in the `store`. A run pins one saved catalog.
"""

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator
from scipy.cluster.hierarchy import DisjointSet

from vosforge.config import Record, explain
from vosforge.errors import InputError, VOSForgeError
from vosforge.files import write_sealed
from vosforge.seeding import rng_for
from vosforge.terms import Split
from vosforge.trouble import unread

AssetKind = Literal["mesh", "texture", "hdri"]


class Asset(Record):
    """One prepared mesh, texture image or HDRI."""

    hash: str
    """Content hash of the prepared content: its name in the store."""
    kind: AssetKind
    name: str
    category: str
    source: str
    """Where it came from, for example ``procedural/vase/17``, ``sweethome3d/<id>`` or ``bpy/forest.exr``."""
    licence: str
    creator: str
    textures: tuple[str, ...] = ()
    """Content hashes of the images inside a mesh."""
    joints: Annotated[tuple[int, ...], Field(exclude_if=lambda joints: not joints)] = ()
    """The joint that each joint of a mesh hangs on, an earlier one; -1: none. () without a skeleton."""
    morphs: Annotated[int, Field(exclude_if=lambda morphs: morphs == 0)] = 0
    """The number of shape keys of a mesh."""


class Catalog(Record):
    """A frozen list of assets without duplicate content."""

    assets: tuple[Asset, ...] = ()

    @model_validator(mode="after")
    def _each_content_once(self) -> Self:
        repeated = [content for content, count in Counter(asset.hash for asset in self.assets).items() if count > 1]
        if repeated:
            names = ", ".join(asset.source for asset in self.assets if asset.hash == repeated[0])
            raise ValueError(f"the same content is listed more than once: {names}")
        return self

    @classmethod
    def of(cls, assets: Iterable[Asset]) -> "Catalog":
        """The catalog of ``assets``; of those with equal content the first is kept."""
        first: dict[str, Asset] = {}
        for asset in assets:
            first.setdefault(asset.hash, asset)
        return cls(assets=tuple(first.values()))

    def __add__(self, other: "Catalog") -> "Catalog":
        """The union of both catalogs; for shared content, this catalog's entry is kept."""
        return Catalog.of(self.assets + other.assets)

    def __len__(self) -> int:
        return len(self.assets)

    def of_kind(self, kind: AssetKind) -> tuple[Asset, ...]:
        """The assets of one kind, in catalog order."""
        return self._of_kind.get(kind, ())

    def by_hash(self, content: str) -> Asset:
        """The asset with this content hash. Raises VOSForgeError when the catalog has none."""
        asset = self._by_hash.get(content)
        if asset is None:
            raise VOSForgeError(
                f"no asset of the catalog has the content {content}: use the catalog the scene was made with"
            )
        return asset

    @cached_property
    def _of_kind(self) -> dict[AssetKind, tuple[Asset, ...]]:
        return {kind: tuple(asset for asset in self.assets if asset.kind == kind) for kind in get_args(AssetKind)}

    @cached_property
    def _by_hash(self) -> dict[str, Asset]:
        return {asset.hash: asset for asset in self.assets}

    def save(self, path: Path) -> None:
        """Write JSON lines, one asset per line, atomically."""
        write_sealed(Path(path), "".join(f"{asset.model_dump_json()}\n" for asset in self.assets))

    @classmethod
    def load(cls, path: Path) -> "Catalog":
        """Read what `save` wrote. Raises InputError naming the file and the invalid line."""
        try:
            lines = Path(path).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise unread(path, error, InputError(f"cannot read the catalog {path}: {error}")) from None
        assets = []
        for number, line in enumerate(lines, start=1):
            try:
                assets.append(Asset.model_validate_json(line))
            except ValidationError as error:
                raise InputError(f"{path}, line {number}: {explain(error, Asset)}") from None
        try:
            return cls(assets=tuple(assets))
        except ValidationError as error:
            raise InputError(f"{path}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None

    def split(self, held_out: float, seed: int) -> dict[Split, "Catalog"]:
        """Two catalogs, ``train`` and ``val``, that share no mesh, no texture, no HDRI and no image inside a mesh.

        About the share ``held_out`` (between 0 and 1) of each kind goes to ``val``. Assets tied by a common image
        stay together; a kind that falls into at least two such groups has one on each side, a kind with only one
        is entirely in ``train``. Raises InputError for a share outside (0, 1).
        """
        if not 0.0 < held_out < 1.0:
            raise InputError(f"the held-out share is {held_out}, but it must lie between 0 and 1, for example 0.2")
        groups = _tied_groups(self.assets)
        order = rng_for(seed, "split").permutation(len(groups))
        counts = [Counter(asset.kind for asset in groups[index]) for index in order]
        val = _choose_val(counts, held_out)
        held = {asset.hash for place, index in enumerate(order) if place in val for asset in groups[index]}
        return {
            "train": Catalog(assets=tuple(asset for asset in self.assets if asset.hash not in held)),
            "val": Catalog(assets=tuple(asset for asset in self.assets if asset.hash in held)),
        }


def _tied_groups(assets: Iterable[Asset]) -> list[list[Asset]]:
    """Groups of assets that share no image, in an order that depends only on content."""
    ordered = sorted(assets, key=lambda asset: asset.hash)
    ties = DisjointSet(asset.hash for asset in ordered)
    for asset in ordered:
        for texture in asset.textures:  # a texture asset's own hash is the hash of its image
            ties.add(texture)
            ties.merge(texture, asset.hash)
    groups: dict[str, list[Asset]] = {}
    for asset in ordered:
        groups.setdefault(ties[asset.hash], []).append(asset)
    return list(groups.values())


def _choose_val(counts: list[Counter[AssetKind]], held_out: float) -> set[int]:
    """Indices of the groups to hold out, given how many assets of each kind each group has."""
    total: Counter[AssetKind] = sum(counts, Counter())
    groups_left = Counter(kind for count in counts for kind in count)  # groups of a kind still in train
    splittable = {kind for kind in get_args(AssetKind) if groups_left[kind] >= 2}
    target = {kind: max(1, round(held_out * total[kind])) for kind in total}
    taken: Counter[AssetKind] = Counter()
    val: set[int] = set()

    def take(index: int) -> None:
        val.add(index)
        taken.update(counts[index])
        groups_left.subtract(counts[index].keys())

    def leaves_train_complete(count: Counter[AssetKind]) -> bool:
        return all(groups_left[kind] >= 2 for kind in count)

    for index, count in enumerate(counts):
        if leaves_train_complete(count) and all(taken[kind] + count[kind] <= target[kind] for kind in count):
            take(index)
    # A kind whose every group is larger than its target gives its smallest one.
    for kind in sorted(splittable):
        if not taken[kind]:
            fitting = [i for i, count in enumerate(counts) if count[kind] and leaves_train_complete(count)]
            take(min(fitting, key=lambda i: counts[i].total()))
    return val
