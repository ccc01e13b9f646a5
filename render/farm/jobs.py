"""The job planner: lists a data set's videos, finds missing ones and seals shards.

A data set's folder, or its URL on a store, holds ``dataset.yaml`` and ``catalog.jsonl`` (what it is rendered from,
pinned), ``staging/`` (sealed single videos on their way into a shard), ``shards/``, ``quarantine/`` (shards and videos
that were taken out), ``manifest.jsonl`` and ``logs/``. Processes may render parts of it at once, each with its own
piece of the manifest.
"""

import itertools
import platform
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, NamedTuple

import yaml
from pydantic import Field

from assets.catalog import Catalog
from assets.settings import AssetSettings
from blender_scenes.sample import SceneConfig, sample_scene
from blender_scenes.spec import RenderSettings, SceneSpec, video_id
from render.farm.events import kind_of
from render.farm.parts import WHOLE, Part
from render.farm.places import NOTE, Places, is_begun, noted_reason, places_at
from render.farm.runlog import runs_at
from render.farm.sealing import seal_shard
from render.qualities import QUALITIES
from vosforge.config import Record, read_config
from vosforge.errors import InputError
from vosforge.files import remove_unfinished, write_sealed
from vosforge.locks import BusyError, in_turn, one_writer
from vosforge.log import logger
from vosforge.terms import Split
from vosforge.trouble import attempting, patiently
from vosforge.videos import Place, ShardSet, VideoRow, append_manifest, build_manifest, quarantine_video, read_manifest
from vosforge.videos.cache import local_copy
from vosforge.videos.format import shard_name
from vosforge.videos.manifest import MANIFEST, PIECES, build_piece, piece_name, pieces_of
from vosforge.videos.writer import unpack_video

ASKING_PATIENCE = 15.0
"""Seconds for which a store is asked again that does not say what it holds: its URL may be wrong."""
RUN_PATIENCE = 60.0
"""Seconds for which a run asks a store again that fails, before it does what it does about a full disk."""
PUBLISH_SECONDS = 60.0
"""How often a store gets the manifest, while shards are sealed."""
PREPARING = "preparing"
"""The name of the lock of what parts that start at once do one at a time."""


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


def shard_numbers(config: DatasetConfig) -> range:
    """The numbers of all shards of a data set."""
    return range(-(-config.videos // config.videos_per_shard))


def shard_members(config: DatasetConfig, shard: int) -> range:
    """The videos of a shard: membership is fixed."""
    size = config.videos_per_shard
    return range(shard * size, min((shard + 1) * size, config.videos))


def unsealed(root: Place) -> list[int]:
    """The numbers of the shards of the data set in the folder ``root`` that are not sealed yet.

    Raises InputError where no data set was started.
    """
    config = begun_with(root)
    if config is None:
        raise InputError(f"{root} holds no data set: start it with 'vosforge render {root} --prepare-only'")
    places = places_at(root)
    sealed = _numbers(places.names(places.shards))
    return [shard for shard in shard_numbers(config) if shard not in sealed]


class Dataset:
    """A data set's folder for the planner: pinned config and catalog, and finished videos.

    What is finished is known from two listings, of ``shards/`` and ``staging/``, however many videos there are. It
    knows of the shards of one part only, by default of all.
    """

    def __init__(self, root: Place, config: DatasetConfig, catalog: Catalog, part: Part = WHOLE) -> None:
        """Pin ``config`` and ``catalog`` in ``root``, or compare them with those pinned there.

        Raises InputError if the folder was started with other settings or assets.
        """
        self.root, self.config, self.catalog, self.part = root, config, catalog, part
        self.places = places_at(root, f"run-{part.label}", RUN_PATIENCE)
        self._retried: set[int] = set()
        self._published = time.monotonic()
        with attempting(f"write to {self.places.root}"):
            self.places.root.mkdir(parents=True, exist_ok=True)
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

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the part for writing, and clean up after a killed writer. Raises InputError if it is locked.

        A part and the whole exclude each other, and so do parts of different divisions.
        """
        folder = self.places.root
        with one_writer(folder, "rendering into", self.part.label, self.part.excludes):
            if not isinstance(self.root, Path):
                self._check_alone()
            with self.places.writing():
                for each in (folder, self.places.staging, self.places.shards):
                    remove_unfinished(each, self._is_own)
                if not isinstance(self.root, Path):
                    self._obtain_manifest()
                self._fold_others()
            yield

    def _check_alone(self) -> None:
        """Raise BusyError if another machine's run, as it said lately, excludes this one: a store has no locks."""
        for run in runs_at(self.root):
            elsewhere = run.now.host != platform.node()  # this machine's runs are kept out by the folder's lock
            if elsewhere and run.alive and (run.now.label == self.part.label or self.part.excludes(run.now.label)):
                raise BusyError(
                    f"another process is rendering into {self.root} (process {run.now.pid} on {run.now.host} said so "
                    f"{run.silent:.0f} s ago): wait for it or stop it; if it is gone, try again in a minute"
                )

    def _obtain_manifest(self) -> None:
        """Have the manifest and its pieces here, as the store keeps them."""
        folder = self.places.root
        for path in (folder / MANIFEST, *folder.glob(PIECES)):
            path.unlink(missing_ok=True)
        for name in self.places.names(folder):
            if name == MANIFEST or fnmatch(name, PIECES):
                self.places.obtain(folder / name)

    def _fold_others(self) -> None:
        """Fold in the pieces that parts of another division left, so that all pieces are of one division."""
        labels = (path.stem.removeprefix("manifest-") for path in pieces_of(self.places.root))
        if self.part == WHOLE or not any(map(self.part.excludes, labels)):
            return
        if not isinstance(self.root, Path):
            raise InputError(
                f"{self.root} has parts of another division: run 'vosforge render {self.root}' without --part once, "
                "to fold them in"
            )
        with in_turn(self.root, "starting", PREPARING):
            build_manifest(self.root, anew=False)

    def _is_own(self, stem: str) -> bool:
        """Whether a file of this stem is written by this part only."""
        if self.part == WHOLE or stem == Path(piece_name(self.part.label)).stem:
            return True
        found = re.match(r"(shard-)?([0-9]+)(\.quarantined)?$", stem)
        return found is not None and (int(found[2]) if found[1] else self.shard_of(int(found[2]))) in self.shards()

    @property
    def logs(self) -> str:
        """The folder of the part's logs, in the data set's."""
        return f"logs/part-{self.part.label}" if self.part != WHOLE else "logs"

    def spec(self, index: int, attempt: int = 0) -> SceneSpec:
        """The scene of video ``index``, drawn from the assets of its split only."""
        return self._pinned.spec(index, attempt)

    def staged_path(self, index: int) -> Path:
        """Path of the finished video ``index`` until its shard is packed."""
        return self.places.staged(index)

    def shard_path(self, number: int) -> Path:
        """Where shard ``number`` is."""
        return self.places.shard(number)

    def members(self, shard: int) -> range:
        """The videos of a shard: membership is fixed."""
        return shard_members(self.config, shard)

    def shards(self) -> range:
        """The numbers of the part's shards."""
        return self.part.shards(len(shard_numbers(self.config)))

    def shard_of(self, index: int) -> int:
        """The number of the shard that video ``index`` belongs to."""
        return index // self.config.videos_per_shard

    def missing(self) -> list[int]:
        """Videos neither sealed nor quarantined, and those being retried, in order."""
        sealed, settled = self._sealed(), self._settled()
        wanted = (index for shard in self.shards() if shard not in sealed for index in self.members(shard))
        retried = {index for index in self._retried if self.shard_of(index) in sealed}
        return sorted({*wanted, *retried} - settled)

    def renderer(self, *, of_others: bool = False) -> str | None:
        """Renderer of the first existing video ("Blender 5.0.1 Cycles CPU"), of any part; None if unknown.

        ``of_others``: not of this part's own.
        """
        own = {*self.shards()} if of_others else set()
        shards = map(self.shard_path, sorted(_numbers(self.places.names(self.places.shards)) - own))
        staged = (index for index in sorted(self._staged()) if self.shard_of(index) not in own)
        for path in itertools.chain(shards, map(self.staged_path, staged)):
            try:
                videos = ShardSet(self.places.place(path))
            except InputError:
                if self.places.has(path):
                    raise
                continue  # another part sealed its shard meanwhile
            for video in videos:
                renderer: str | None = video.attributes.get("renderer")
                return renderer
        return None

    def quarantine(self, index: int, reason: str) -> None:
        """Quarantine video ``index`` with its reason."""
        with self.places.writing():
            quarantine_video(self.places.note(index), video_id(index), reason)
            self.places.publish(self.places.note(index))

    def retry_quarantined(self, kind: str | None = None) -> None:
        """Count quarantined videos as missing, also in sealed shards, whose other videos stay.

        ``kind``: only those of this kind of trouble (see `render.farm.events.KINDS`).
        """
        with self.places.writing():
            for index in sorted(self._settled()):
                note = self.places.note(index)
                if self.places.has(note) and kind in (None, kind_of(noted_reason(self.places.obtain(note)))):
                    self.places.remove(note)
            self.manifest()
            sealed = {shard_name(shard) for shard in self._sealed()}
            rows = [row for row in read_manifest(self.places.root) if row.state == "quarantined"]
            self._retried |= {int(r.id) for r in rows if r.shard in sealed and kind in (None, kind_of(r.reason))}

    def retried(self, shard: int) -> list[int]:
        """The videos of a sealed shard that are being retried."""
        return [index for index in self.members(shard) if index in self._retried] if self._retried else []

    def pack(self, shards: Iterable[int] | None = None) -> list[Path]:
        """Seal every shard (of ``shards``) whose members are all settled; returns the new ones.

        Staged copies are removed after. A sealed shard is made anew when a video that is quarantined in it is staged,
        and nothing else of it is retried. Raises MachineError when the folder cannot be written to, or is not there any
        more.
        """
        with self.places.writing():
            among = sorted({self.shard_of(index) for index in self._settled()}) if shards is None else shards
        new = []
        for shard in among:
            rows = seal_shard(self.places, shard, self.members(shard), self.retried(shard))
            if rows is not None:
                self.record(shard, rows)
            if rows:
                new.append(self.shard_path(shard))
        return new

    def record(self, shard: int, rows: Sequence[VideoRow]) -> None:
        """Add the ``rows`` of a shard that was just sealed to the manifest; none if it stayed as it was."""
        if rows:
            with self.places.writing():
                append_manifest(self.places.root, rows, self.part.label)
                if time.monotonic() - self._published >= PUBLISH_SECONDS:
                    self._publish_manifest()
        self._retried.difference_update(self.members(shard))

    def reopen(self, shard: int, good: Collection[int], quarantined: Mapping[int, str]) -> None:
        """Take shard ``shard`` apart: its ``good`` videos return to staging as stored; the others become missing.

        The shard is moved into ``quarantine/``, and only when everything worth keeping is sealed and read back, so that
        a kill at any instant loses nothing. Raises VOSForgeError, with the shard still there, when a video turns out
        not to be good.
        """
        with self.places.writing():
            for index in set(self.members(shard)).difference(good, quarantined):
                self.discard(index)  # what a kill after packing left behind counts for no more than what it became
            if good:
                self.places.obtain(self.shard_path(shard))
            for index in good:
                unpack_video(self.shard_path(shard), video_id(index), self.staged_path(index))
                self.places.publish(self.staged_path(index))
            for index, reason in quarantined.items():
                self.quarantine(index, reason)
            self._set_aside(self.shard_path(shard))

    def discard(self, index: int) -> None:
        """Move the staged video ``index`` into ``quarantine/``, so that it is rendered again."""
        with self.places.writing():
            if self.places.has(self.staged_path(index)):
                self._set_aside(self.staged_path(index))
            self.places.remove(self.places.note(index))

    def manifest(self, *, anew: bool = False) -> None:
        """Bring the manifest, or the part's piece of it, in order; ``anew``: read every shard for it."""
        with self.places.writing():
            folder = self.places.root
            shards = [self.places.place(self.shard_path(number)) for number in sorted(self._sealed())]
            if self.part == WHOLE:
                pieces = [folder / path.name for path in pieces_of(folder)]
                build_manifest(folder, anew=anew, shards=shards)
                self._publish_manifest()
                self.places.remove(*pieces)
            else:
                build_piece(folder, self.part.label, shards, anew=anew)
                self._publish_manifest()

    def _publish_manifest(self) -> None:
        path = self.places.root / piece_name(self.part.label)
        if path.exists():
            self.places.publish(path, keep=True)
        self._published = time.monotonic()

    def _set_aside(self, path: Path) -> None:
        """Move a file into ``quarantine/``, beside what lies there already."""
        folder = self.places.root / "quarantine"
        there = {*self.places.names(folder)}
        names = (f"{path.stem}-{number}{path.suffix}" for number in itertools.count(1))
        target = folder / next(name for name in names if name not in there)
        self.places.move(path, target)
        logger.info("%s is kept as %s", path.name, self.places.place(target))

    def _sealed(self) -> set[int]:
        """The numbers of the part's sealed shards."""
        return _numbers(self.places.names(self.places.shards)) & {*self.shards()}

    def _settled(self) -> set[int]:
        """The part's videos that are staged, or whose quarantine is noted."""
        names = (name.removesuffix(NOTE).removesuffix(".h5") for name in self.places.names(self.places.staging))
        indices = (int(name) for name in names if name.isdecimal() and int(name) < self.config.videos)
        return {index for index in indices if self.shard_of(index) in self.shards()}

    def _staged(self) -> set[int]:
        """The staged videos of all parts."""
        names = self.places.names(self.places.staging)
        return {int(name[:-3]) for name in names if name.endswith(".h5") and name[:-3].isdecimal()}


def _numbers(names: Iterable[str]) -> set[int]:
    """The numbers of the shards of these names."""
    numbers = (name.removeprefix("shard-").removesuffix(".h5") for name in names)
    return {int(number) for number in numbers if number.isdecimal()}
