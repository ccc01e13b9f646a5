"""Files and folders behind fsspec's URLs (``s3://bucket/data``).

A ``RemotePath`` has the few names of ``pathlib.Path`` that readers of shards use. Reading what is in a file is not its
business: that goes through a copy on this machine (`vosforge.videos.cache`).
"""

import errno
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple
from uuid import uuid4

import fsspec

from vosforge.errors import InputError, UnreachableError, VOSForgeError, first_line
from vosforge.files import UNFINISHED

MARKS = ("ETag", "etag", "md5Hash", "Content-MD5", "LastModified", "Last-Modified", "last_modified", "mtime", "created")
"""Names of a file's version mark in different stores; the first present one counts."""


CREDENTIALS = "set credentials with access to it; for S3, AWS_PROFILE, or FSSPEC_S3_ANON=true to read public data"
WHOLE_PUTS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
"""Stores that show a file under its name only when it is whole. In others it is renamed when it is."""
BLOCK = 2**23


class Version(NamedTuple):
    """A file's version: its size and version mark."""

    size: int
    mark: str


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or folder on a store: scheme and the rest after ``://``. It holds no connection, so pickle it, fork it."""

    scheme: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.key}"

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(self.scheme, f"{self.key}/{name}")

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.key.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> "RemotePath":
        """The folder it is in."""
        return RemotePath(self.scheme, self.key.rpartition("/")[0])

    def resolve(self) -> "RemotePath":
        """Itself: a URL is whole."""
        return self

    def is_file(self) -> bool:
        """Whether its name is a shard's; many stores have no folders."""
        return self.name.endswith(".h5")

    def is_dir(self) -> bool:
        """Whether it is treated as a data set's folder."""
        return not self.is_file()

    @cached_property
    def version(self) -> Version | None:
        """The file's version, asked for once, so that all who share this object agree; None when there is no file."""
        with _reaching(self):
            filesystem, path = fsspec.url_to_fs(str(self))
            filesystem.invalidate_cache()
            try:
                info = filesystem.info(path)
            except FileNotFoundError as error:
                _raise_hidden(error)
                return None
        if info.get("size") is None:
            raise InputError(
                f"{self} is served without its size, so a truncated download could not be detected: use another server"
            )
        return Version(int(info["size"]), next((str(info[mark]) for mark in MARKS if info.get(mark)), ""))

    def exists(self) -> bool:
        """Whether the file exists. Raises InputError when the store cannot tell."""
        return self.version is not None

    def names(self) -> list[str]:
        """The names of the files in this folder; none where it is missing. InputError if it cannot be listed."""
        return [PurePosixPath(item["name"]).name for item in self._listed() if item["type"] == "file"]

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """The files of this folder whose names match. Raises InputError when the store cannot be asked."""
        with _reaching(self):
            filesystem, path = fsspec.url_to_fs(str(self))
            filesystem.invalidate_cache()
            names = [PurePosixPath(found).name for found in filesystem.glob(f"{path}/{pattern}")]
        return (self / name for name in names)

    def folders(self) -> list[str]:
        """The names of the folders in this one, sorted; none where it is missing. InputError if it cannot be listed."""
        return sorted(PurePosixPath(item["name"]).name for item in self._listed() if item["type"] == "directory")

    def download_files(self, to: Path) -> None:
        """Download the files of this folder into the folder ``to``. Raises VOSForgeError if one was truncated."""
        items = [item for item in self._listed() if item["type"] == "file"]
        targets = [to / PurePosixPath(item["name"]).name for item in items]
        to.mkdir(parents=True, exist_ok=True)
        with _reaching(self):
            filesystem, _ = fsspec.url_to_fs(str(self))
            filesystem.get([item["name"] for item in items], [str(target) for target in targets])
        for item, target in zip(items, targets, strict=True):
            if item["size"] is not None and target.stat().st_size != item["size"]:
                raise VOSForgeError(f"{self / target.name} arrived truncated: run the command again")

    def _listed(self) -> list[dict[str, Any]]:
        with _reaching(self):
            filesystem, path = fsspec.url_to_fs(str(self))
            filesystem.invalidate_cache()
            try:
                found: list[dict[str, Any]] = filesystem.ls(path, detail=True)
            except FileNotFoundError as error:
                _raise_hidden(error)
                return []
            # Some stores list the folder itself, as an empty file.
            return [item for item in found if item["name"].rstrip("/") != path.rstrip("/")]

    def download(self, to: Path) -> None:
        """Download the file to ``to``. Raises VOSForgeError if it was truncated or changed meanwhile."""
        with _reaching(self):
            filesystem, path = fsspec.url_to_fs(str(self))
            filesystem.get_file(path, str(to))
        wanted, found = self.version, to.stat().st_size
        if wanted is None or RemotePath(self.scheme, self.key).version != wanted:
            raise VOSForgeError(f"{self} changed while it was read: run the command again")
        if found != wanted.size:
            raise VOSForgeError(f"{self} arrived truncated ({found:,} of {wanted.size:,} bytes): run the command again")

    def upload(self, path: Path, check: bool = True) -> None:
        """Store the file ``path`` under this name, at once: it is whole or not there, also after a kill.

        ``check``: read it back and compare. Raises UnreachableError if the store fails, or keeps something else.
        """
        with _reaching(self, "written"):
            filesystem, key = fsspec.url_to_fs(str(self))
            target = key
            if self.scheme not in WHOLE_PUTS:
                folder = key.rpartition("/")[0]
                target = f"{folder}/{UNFINISHED}{uuid4().hex}-{self.name}"
                filesystem.makedirs(folder, exist_ok=True)
            filesystem.put_file(str(path), target)
            if check:
                filesystem.invalidate_cache()
                with path.open("rb") as sent, filesystem.open(target, "rb", block_size=BLOCK) as kept:
                    same = _digest(sent) == _digest(kept)
                if not same:
                    filesystem.rm_file(target)
                    raise OSError("it arrived damaged")
            if target != key:
                filesystem.mv(target, key)

    def remove(self) -> None:
        """Remove the file, if it exists. Raises UnreachableError if the store fails."""
        with _reaching(self, "removed"):
            filesystem, key = fsspec.url_to_fs(str(self))
            with suppress(FileNotFoundError):
                filesystem.rm_file(key)

    def move(self, to: "RemotePath") -> None:
        """Move the file to another name in the same store. Raises UnreachableError if the store fails."""
        with _reaching(self, "moved"):
            filesystem, key = fsspec.url_to_fs(str(self))
            filesystem.mv(key, fsspec.url_to_fs(str(to))[1])


Place = Path | RemotePath
"""The location of a data set or shard: local or remote."""


def place(where: Place | str) -> Place:
    """Parse a data set or shard argument: a path, or an fsspec URL."""
    url = re.fullmatch(r"([a-z][a-z0-9+.-]*)://(.+?)/*", where) if isinstance(where, str) else None
    if url is None:
        return Path(where) if isinstance(where, str) else where
    return Path(url[2]) if url[1] in ("file", "local") else RemotePath(url[1], url[2])


@contextmanager
def _reaching(path: RemotePath, done: str = "read") -> Iterator[None]:
    """Turn a store library's errors into one sentence with a remedy. ``done``: what is being done to ``path``."""
    try:
        yield
    except FileNotFoundError as error:
        if done == "read":
            raise InputError(f"{path} does not exist: check the spelling") from None
        raise UnreachableError(f"{path} cannot be {done} ({first_line(error)}): check its bucket") from None
    except ImportError as error:
        remedy = "pip install 'vosforge[remote]' brings what s3:// and https:// need"
        raise InputError(f"{path} needs a package that is not installed ({first_line(error)}): {remedy}") from None
    except PermissionError as error:
        raise InputError(f"{path} may not be {done} ({first_line(error)}): {CREDENTIALS}") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # not the store's fault
        if "Protocol not known" in str(error):
            raise InputError(f"{path} is no URL of a known kind: write s3://, gs://, https://, or a path") from None
        remedy = CREDENTIALS if "credentials" in str(error) else "check the address and the network"
        raise UnreachableError(f"{path} cannot be {done} ({first_line(error)}): {remedy}") from None


def _digest(file: IO[bytes]) -> bytes:
    digest = hashlib.sha256()
    while data := file.read(BLOCK):
        digest.update(data)
    return digest.digest()


def _raise_hidden(error: FileNotFoundError) -> None:
    """Raise the real reason: fsspec's HTTP reports every failure as a missing file."""
    cause = error.__cause__
    status = getattr(cause, "status", None)
    if status in (401, 403):
        raise PermissionError(first_line(error))
    if status not in (None, 404, 410) or (isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)):
        assert cause is not None
        raise cause
