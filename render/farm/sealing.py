"""Where a data set's folder keeps what, and how a shard of it is sealed. Touches one shard, whatever the others are."""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from blender_scenes.spec import video_id
from vosforge.errors import MachineError
from vosforge.files import UNFINISHED
from vosforge.trouble import attempting
from vosforge.videos import VideoRow, pack_shard
from vosforge.videos.format import shard_name
from vosforge.videos.reader import shard_rows

PROBE_BYTES = 2**16
"""What must fit into a folder that can be written to."""
NOTE = ".quarantined.json"
"""Ends the name of a note that a video is quarantined."""


@dataclass(frozen=True)
class Places:
    """The paths in a data set's folder."""

    root: Path

    @property
    def config(self) -> Path:
        """The pinned settings."""
        return self.root / "dataset.yaml"

    @property
    def catalog(self) -> Path:
        """The pinned catalog."""
        return self.root / "catalog.jsonl"

    @property
    def staging(self) -> Path:
        """The folder of finished videos whose shard is not sealed yet."""
        return self.root / "staging"

    @property
    def shards(self) -> Path:
        """The folder of sealed shards."""
        return self.root / "shards"

    def staged(self, index: int) -> Path:
        """The finished video ``index`` until its shard is sealed."""
        return self.staging / f"{video_id(index)}.h5"

    def note(self, index: int) -> Path:
        """The note that video ``index`` is quarantined, until its shard is sealed."""
        return self.staging / f"{video_id(index)}{NOTE}"

    def shard(self, number: int) -> Path:
        """Shard ``number``."""
        return self.shards / shard_name(number)

    def settled(self, index: int) -> bool:
        """Whether video ``index`` is finished or quarantined, and its shard not sealed since."""
        return self.staged(index).exists() or self.note(index).exists()

    def writable(self) -> bool:
        """Whether files can be written to the folder from here."""
        probe = self.root / f"{UNFINISHED}probe-{uuid4().hex}"
        try:
            with self.writing():
                probe.write_bytes(bytes(PROBE_BYTES))
        except MachineError:
            return False
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
        return True

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raise MachineError when the folder is not writable, or not there any more (a lost share)."""
        with attempting(f"write to {self.root}"):
            self.config.stat()
            yield


def noted_reason(note: Path) -> str:
    """Why the video of a note is quarantined."""
    reason: str = json.loads(note.read_text())["reason"]
    return reason


def seal_shard(
    places: Places, shard: int, members: Collection[int], retried: Collection[int] = ()
) -> list[VideoRow] | None:
    """Seal ``shard`` if all its ``members`` are settled, and remove their staged copies; returns its rows.

    ``retried``: those of its members that are quarantined in it and rendered again; a sealed shard is made anew when
    all of them are settled and one is staged. Empty: it is as it was; None: it waits for more videos. Raises
    MachineError when the folder cannot be written to.
    """
    with places.writing():
        path = places.shard(shard)
        sealed = path.exists()
        settled = [index for index in members if places.settled(index)]
        if not settled or not set(retried if sealed else members) <= set(settled):
            return None
        rows = shard_rows(path) if sealed else []
        there = {row.id for row in rows if row.state == "sealed"}
        reasons = {row.id: row.reason or "" for row in rows if row.state == "quarantined"}
        staged = {i: places.staged(i) for i in settled if video_id(i) not in there and places.staged(i).exists()}
        for index in settled:
            if index in staged:
                reasons.pop(video_id(index), None)
            elif (note := places.note(index)).exists():
                reasons[video_id(index)] = noted_reason(note)
        new = bool(staged) or not sealed
        if new:
            sources = list(staged.values())
            pack_shard(places.shards, shard, [path, *sources] if sealed else sources, reasons)
        for index in settled:  # also what a kill between sealing and removing left behind
            places.staged(index).unlink(missing_ok=True)
            places.note(index).unlink(missing_ok=True)
        return shard_rows(path) if new else []
