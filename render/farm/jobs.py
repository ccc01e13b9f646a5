"""A data set that is rendered: what its videos are to show, pinned, and which of them are finished.

A data set's folder, or its URL on a store, holds ``dataset.yaml`` and ``catalog.jsonl`` (what it is rendered from,
pinned), ``staging/`` (sealed single videos on their way into a shard), ``shards/``, ``quarantine/`` (shards and videos
that were taken out), ``manifest.jsonl`` and ``logs/``. Processes may render parts of it at once, each with its own
piece of the manifest.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import yaml
from pydantic import Field

from assets.catalog import Catalog
from assets.settings import AssetSettings
from blender_scenes.sample import SceneConfig, sample_scene
from blender_scenes.spec import RenderSettings, SceneSpec
from render.farm.ledger import Ledger, shard_numbers, shards_named
from render.farm.parts import WHOLE, Part
from render.farm.places import Places, is_begun, places_at
from render.qualities import QUALITIES
from vosforge.config import Record, read_config
from vosforge.errors import InputError
from vosforge.files import write_sealed
from vosforge.terms import Split
from vosforge.trouble import attempting, patiently
from vosforge.videos import Place
from vosforge.videos.cache import local_copy

ASKING_PATIENCE = 15.0
"""Seconds for which a store is asked again that does not say what it holds: its URL may be wrong."""
RUN_PATIENCE = 60.0
"""Seconds for which a run asks a store again that fails, before it does what it does about a full disk."""


class DatasetConfig(Record):
    """Settings of a data set: equal config and catalog give equal videos."""

    seed: int = 0
    videos: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    held_out_every: Annotated[int, Field(ge=0, description="every n-th video is held out (split val); 0: none")] = 5
    held_out_assets: Annotated[float, Field(gt=0, lt=1, description="share of the assets kept for them")] = 0.2
    videos_per_shard: Annotated[int, Field(ge=1, le=10_000)] = 25
    attempts: Annotated[int, Field(ge=1, le=100, description="attempts before a video is quarantined")] = 10
    assets: AssetSettings = AssetSettings()
    scene: SceneConfig = SceneConfig()
    render: RenderSettings = RenderSettings(**QUALITIES["standard"])


def split_assets(config: DatasetConfig, catalog: Catalog) -> dict[Split, Catalog]:
    """The catalog of each split: disjoint, or everything for "train" if nothing is held out."""
    if not config.held_out_every:
        return {"train": catalog, "val": Catalog()}
    return catalog.split(config.held_out_assets, config.seed)


def split_of(config: DatasetConfig, index: int) -> tuple[Split, int]:
    """The split video ``index`` belongs to, and its number among the videos of that split."""
    if not config.held_out_every:
        return "train", index
    turn, place = divmod(index, config.held_out_every)
    return ("val", turn) if place == config.held_out_every - 1 else ("train", index - turn)


def scene_of(config: DatasetConfig, splits: Mapping[Split, Catalog], index: int, attempt: int = 0) -> SceneSpec:
    """The scene of video ``index`` of a data set, drawn from the assets of its split only."""
    split, place = split_of(config, index)
    return sample_scene(
        config.scene,
        config.render,
        splits[split],
        seed=config.seed,
        index=index,
        split=split,
        attempt=attempt,
        place=place,
    )


def begun_with(root: Place) -> DatasetConfig | None:
    """The settings pinned in a data set's folder; None if it has none."""

    def read() -> DatasetConfig | None:
        return read_config(DatasetConfig, local_copy(root / "dataset.yaml")) if is_begun(root) else None

    return patiently(read, ASKING_PATIENCE)


def catalog_of(root: Place) -> Catalog:
    """The catalog pinned in a data set's folder."""
    return patiently(lambda: Catalog.load(local_copy(root / "catalog.jsonl")), ASKING_PATIENCE)


class Pinned(NamedTuple):
    """What decides a data set's videos: its settings and the assets of each split."""

    config: DatasetConfig
    splits: Mapping[Split, Catalog]

    @classmethod
    def load(cls, root: Path) -> "Pinned":
        """Those of the data set in the folder ``root``. Raises InputError where they cannot be read."""
        places = Places(root)
        config = read_config(DatasetConfig, places.config)
        return cls(config, split_assets(config, Catalog.load(places.catalog)))

    def spec(self, index: int, attempt: int = 0) -> SceneSpec:
        """The scene of video ``index``."""
        return scene_of(self.config, self.splits, index, attempt)


def _difference(begun: Record, wanted: Record, prefix: str = "") -> str:
    """The first setting in which two configs of one kind differ, as "key = value, not value"."""
    for key, value in begun:
        other = getattr(wanted, key)
        if isinstance(value, Record) and value != other:
            return _difference(value, other, f"{prefix}{key}.")
        if value != other:
            return f"{prefix}{key} = {value}, not {other}"
    raise ValueError("the configs are equal")


def unsealed(root: Place) -> list[int]:
    """The numbers of the shards of the data set in the folder ``root`` that are not sealed yet.

    Raises InputError where no data set was started.
    """
    config = begun_with(root)
    if config is None:
        raise InputError(f"{root} holds no data set: start it with 'vosforge render {root} --prepare-only'")
    places = places_at(root)
    sealed = shards_named(places.names(places.shards))
    return [shard for shard in shard_numbers(config) if shard not in sealed]


class Dataset(Ledger):
    """A data set that is rendered: its pinned config and catalog, and its finished videos."""

    def __init__(self, root: Place, config: DatasetConfig, catalog: Catalog, part: Part = WHOLE) -> None:
        """Pin ``config`` and ``catalog`` in ``root``, or compare them with those pinned there.

        Raises InputError if the folder was started with other settings or assets.
        """
        places = places_at(root, f"run-{part.label}", RUN_PATIENCE)
        super().__init__(root, places, config.videos, config.videos_per_shard, part, "rendering into")
        self.config, self.catalog = config, catalog
        self._pinned = Pinned(config, split_assets(config, catalog))
        if begun := begun_with(root):
            if begun != config:
                raise InputError(
                    f"{root} was started with {_difference(begun, config)}: keep that or use another folder"
                )
            if catalog_of(root) != catalog:
                raise InputError(f"{root} was started with other assets: use its catalog.jsonl or another folder")
        else:
            with attempting(f"write to {root}"):
                catalog.save(self.places.catalog)
                write_sealed(self.places.config, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
                self.places.publish(self.places.catalog, keep=True)
                self.places.publish(self.places.config, keep=True)

    @property
    def logs(self) -> str:
        """The folder of the part's logs, in the data set's."""
        return f"logs/part-{self.part.label}" if self.part != WHOLE else "logs"

    def spec(self, index: int, attempt: int = 0) -> SceneSpec:
        """The scene of video ``index``, drawn from the assets of its split only."""
        return self._pinned.spec(index, attempt)
