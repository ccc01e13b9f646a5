"""Where a data set keeps what: in a folder, or on a store (``s3://bucket/data``) that is worked on from a local folder.

The paths are those of local files. Whoever reads one that another machine may have written obtains it first; what was
written is published. In a folder that all machines share there is nothing to do for either.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from blender_scenes.spec import video_id
from vosforge.errors import MachineError
from vosforge.files import UNFINISHED, cache_dir, move_sealed, remove_sealed, sealed_file
from vosforge.remote import Place, RemotePath
from vosforge.trouble import attempting, patiently
from vosforge.videos.format import shard_name

PROBE_BYTES = 2**16
"""What must fit into a folder that can be written to."""
NOTE = ".quarantined.json"
"""Ends the name of a note that a video is quarantined."""
Answer = TypeVar("Answer")

STORE_PATIENCE = 600.0
"""Seconds for which a worker asks a store again that fails."""


@dataclass(frozen=True)
class Places:
    """The paths in a data set's folder."""

    root: Path
    pin: str = "dataset.yaml"

    @property
    def config(self) -> Path:
        """The file that pins what the data set is made from, there as long as the data set is."""
        return self.root / self.pin

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
        return self.has(self.staged(index)) or self.has(self.note(index))

    def place(self, path: Path) -> Place:
        """Where others find the file ``path``."""
        return path

    def has(self, path: Path) -> bool:
        """Whether the data set has the file ``path``."""
        return path.exists()

    def names(self, folder: Path) -> list[str]:
        """The names in a folder, none if there is no such folder."""
        return [path.name for path in folder.iterdir()] if folder.is_dir() else []

    def obtain(self, path: Path) -> Path:
        """``path``, with what the data set has there."""
        return path

    def publish(self, path: Path, *, keep: bool = False, check: bool = True) -> None:
        """Make the file ``path`` the data set's; ``keep``: it is needed here later; ``check``: see that it arrived."""

    def remove(self, *paths: Path) -> None:
        """Remove those files that exist."""
        remove_sealed(*paths)

    def move(self, path: Path, target: Path) -> None:
        """Give a file another name."""
        move_sealed(path, target)

    def writable(self) -> bool:
        """Whether files can be written to the folder from here."""
        try:
            self.check_writable()
        except MachineError:
            return False
        return True

    def check_writable(self) -> None:
        """Raise MachineError unless files can be written to the folder from here."""
        with self.writing(), self._probe():
            pass

    @contextmanager
    def _probe(self) -> Iterator[Path]:
        """A file that takes some room, for now."""
        probe = self.root / f"{UNFINISHED}probe-{uuid4().hex}"
        try:
            with attempting(f"write to {self.root}"):
                self.root.mkdir(parents=True, exist_ok=True)
                probe.write_bytes(bytes(PROBE_BYTES))
            yield probe
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raise MachineError when the folder is not writable, or not there any more (a lost share)."""
        with attempting(f"write to {self.root}"):
            self.config.stat()
            yield


@dataclass(frozen=True)
class RemotePlaces(Places):
    """A data set on a store. ``root``, a folder on this machine, holds what is being worked on, and nothing else."""

    url: RemotePath = field(kw_only=True)
    patience: float = field(kw_only=True)
    """Seconds for which a store that fails is asked again before MachineError tells of it."""

    def place(self, path: Path) -> RemotePath:
        """As in `Places`."""
        place = self.url
        for name in path.relative_to(self.root).parts:
            place = place / name
        return place

    def has(self, path: Path) -> bool:
        """As in `Places`."""
        return self._asking(lambda: self.place(path).exists())

    def names(self, folder: Path) -> list[str]:
        """As in `Places`."""
        names = self._asking(lambda: self.place(folder).names())
        if not names:  # where the whole store is gone it has no names either
            self._asking(self._check_there)
        return names

    def obtain(self, path: Path) -> Path:
        """As in `Places`: a copy."""
        with attempting(f"write to {path.parent}"), sealed_file(path) as copy:
            self._asking(lambda: self.place(path).download(copy))
        return path

    def publish(self, path: Path, *, keep: bool = False, check: bool = True) -> None:
        """As in `Places`. What the store keeps is compared with the file before that goes."""
        self._asking(lambda: self.place(path).upload(path, check))
        if not keep:
            path.unlink()

    def remove(self, *paths: Path) -> None:
        """As in `Places`."""
        for path in paths:
            path.unlink(missing_ok=True)
            self._asking(self.place(path).remove)

    def move(self, path: Path, target: Path) -> None:
        """As in `Places`."""
        self._asking(lambda: self.place(path).move(self.place(target)))

    def check_writable(self) -> None:
        """Raise MachineError unless files can be written to the store from here; InputError where it is not allowed."""
        with self._probe() as probe:
            self.place(probe).upload(probe)
            self.place(probe).remove()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Raise MachineError when the store is not there (any more), or this machine's disk cannot be written to."""
        self._asking(self._check_there)
        with attempting(f"write to {self.root}"):
            yield

    def _check_there(self) -> None:
        if not self.place(self.config).exists():
            raise MachineError(f"{self.url} has disappeared: check its bucket, then run the command again")

    def _asking(self, ask: Callable[[], Answer]) -> Answer:
        return patiently(ask, self.patience)


def places_at(root: Place, name: str = "run", patience: float = 0.0) -> Places:
    """The places of the data set at ``root``.

    ``name``: of the folder on this machine that a data set on a store is worked on from; its own for each process.
    """
    if isinstance(root, Path):
        return Places(root)
    digest = hashlib.sha256(str(root).encode()).hexdigest()[:16]
    return RemotePlaces(cache_dir() / "desks" / digest / name, url=root, patience=patience)


def is_begun(root: Place) -> bool:
    """Whether a data set was started at ``root``: its settings are pinned last."""
    return (root / "catalog.jsonl").exists() and (root / "dataset.yaml").exists()


def noted_reason(note: Path) -> str:
    """Why the video of a note is quarantined."""
    reason: str = json.loads(note.read_text())["reason"]
    return reason
