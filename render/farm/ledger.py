"""What is finished of a data set, and what is missing: its shards and its staged videos.

What is finished is known from two listings, of ``shards/`` and ``staging/``, however many videos there are.
"""

import itertools
import platform
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Protocol

from blender_scenes.spec import video_id
from render.farm.events import kind_of
from render.farm.parts import WHOLE, Part
from render.farm.places import NOTE, Places, noted_reason
from render.farm.runlog import runs_at
from render.farm.sealing import seal_shard
from vosforge.errors import InputError
from vosforge.files import remove_unfinished
from vosforge.locks import BusyError, in_turn, one_writer
from vosforge.log import logger
from vosforge.trouble import attempting
from vosforge.videos import Place, ShardSet, VideoRow, append_manifest, build_manifest, quarantine_video, read_manifest
from vosforge.videos.format import shard_name
from vosforge.videos.manifest import MANIFEST, PIECES, build_piece, piece_name, pieces_of
from vosforge.videos.writer import unpack_video

PUBLISH_SECONDS = 60.0
"""How often a store gets the manifest, while shards are sealed."""
PREPARING = "preparing"
"""The name of the lock of what parts that start at once do one at a time."""


class Divided(Protocol):
    """So many videos, in shards of so many."""

    @property
    def videos(self) -> int:
        """How many."""

    @property
    def videos_per_shard(self) -> int:
        """How many; the last shard may have fewer."""


def shard_numbers(of: Divided) -> range:
    """The numbers of all shards of a data set."""
    return range(-(-of.videos // of.videos_per_shard))


def shard_members(of: Divided, shard: int) -> range:
    """The videos of a shard: membership is fixed."""
    size = of.videos_per_shard
    return range(shard * size, min((shard + 1) * size, of.videos))


class Ledger:
    """The finished videos of a data set, in shards and on their way there. It knows of the shards of one part only."""

    def __init__(
        self, root: Place, places: Places, videos: int, videos_per_shard: int, part: Part = WHOLE, doing: str = ""
    ) -> None:
        """``doing``: what a process that holds it does, such as "rendering into"."""
        self.root, self.places, self.videos, self.videos_per_shard = root, places, videos, videos_per_shard
        self.part, self._doing = part, doing
        self._retried: set[int] = set()
        self._published = time.monotonic()
        with attempting(f"write to {places.root}"):
            places.root.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the part for writing, and clean up after a killed writer. Raises InputError if it is locked.

        A part and the whole exclude each other, and so do parts of different divisions.
        """
        folder = self.places.root
        with one_writer(folder, self._doing, self.part.label, self.part.excludes):
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
                    f"another process is {self._doing} {self.root} (process {run.now.pid} on {run.now.host} said so "
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

    def staged_path(self, index: int) -> Path:
        """Path of the finished video ``index`` until its shard is packed."""
        return self.places.staged(index)

    def shard_path(self, number: int) -> Path:
        """Where shard ``number`` is."""
        return self.places.shard(number)

    def members(self, shard: int) -> range:
        """The videos of a shard: membership is fixed."""
        return shard_members(self, shard)

    def shards(self) -> range:
        """The numbers of the part's shards."""
        return self.part.shards(len(shard_numbers(self)))

    def shard_of(self, index: int) -> int:
        """The number of the shard that video ``index`` belongs to."""
        return index // self.videos_per_shard

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
        shards = map(self.shard_path, sorted(shards_named(self.places.names(self.places.shards)) - own))
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
        return shards_named(self.places.names(self.places.shards)) & {*self.shards()}

    def _settled(self) -> set[int]:
        """The part's videos that are staged, or whose quarantine is noted."""
        names = (name.removesuffix(NOTE).removesuffix(".h5") for name in self.places.names(self.places.staging))
        indices = (int(name) for name in names if name.isdecimal() and int(name) < self.videos)
        return {index for index in indices if self.shard_of(index) in self.shards()}

    def _staged(self) -> set[int]:
        """The staged videos of all parts."""
        names = self.places.names(self.places.staging)
        return {int(name[:-3]) for name in names if name.endswith(".h5") and name[:-3].isdecimal()}


def shards_named(names: Iterable[str]) -> set[int]:
    """The numbers of the shards of these names."""
    numbers = (name.removeprefix("shard-").removesuffix(".h5") for name in names)
    return {int(number) for number in numbers if number.isdecimal()}
