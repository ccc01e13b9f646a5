"""Files and folders behind fsspec's URLs (``s3://bucket/data``).

A ``RemotePath`` has the few names of ``pathlib.Path`` that readers of shards use. Reading what is in a file is not its
business: that goes through a copy on this machine (`vosforge.videos.cache`).
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import fsspec

from vosforge.errors import InputError, VOSForgeError, first_line

MARKS = ("ETag", "etag", "md5Hash", "Content-MD5", "LastModified", "Last-Modified", "last_modified", "mtime", "created")
"""Names of a file's version mark in different stores; the first present one counts."""


CREDENTIALS = "set credentials with read access; for S3, AWS_PROFILE, or FSSPEC_S3_ANON=true for public data"


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


Place = Path | RemotePath
"""The location of a data set or shard: local or remote."""


def place(where: Place | str) -> Place:
    """Parse a data set or shard argument: a path, or an fsspec URL."""
    url = re.fullmatch(r"([a-z][a-z0-9+.-]*)://(.+?)/*", where) if isinstance(where, str) else None
    if url is None:
        return Path(where) if isinstance(where, str) else where
    return Path(url[2]) if url[1] in ("file", "local") else RemotePath(url[1], url[2])


@contextmanager
def _reaching(path: RemotePath) -> Iterator[None]:
    """Turn a store library's errors into one sentence with a remedy."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the spelling") from None
    except ImportError as error:
        remedy = "pip install 'vosforge[remote]' brings what s3:// and https:// need"
        raise InputError(f"{path} needs a package that is not installed ({first_line(error)}): {remedy}") from None
    except PermissionError as error:
        raise InputError(f"{path} may not be read ({first_line(error)}): {CREDENTIALS}") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # not the store's fault
        remedy = CREDENTIALS if "credentials" in str(error) else "check the address and the network"
        raise InputError(f"{path} cannot be read ({first_line(error)}): {remedy}") from None


def _raise_hidden(error: FileNotFoundError) -> None:
    """Raise the real reason: fsspec's HTTP reports every failure as a missing file."""
    cause = error.__cause__
    status = getattr(cause, "status", None)
    if status in (401, 403):
        raise PermissionError(first_line(error))
    if status not in (None, 404, 410) or (isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)):
        assert cause is not None
        raise cause
