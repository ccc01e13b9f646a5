"""Local copies of remote files: fetched whole on first read, shared by all processes.

Whole files and not ranges of them: a clip takes a handful of reads, each of which would wait for the network in every
epoch, whereas a copy is read like any local shard. A copy is never changed: its name holds the version of what it is a
copy of, and it gets that name when it is whole. A file that is opened once stays readable when its copy is removed.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from vosforge.errors import InputError
from vosforge.files import UNFINISHED, cache_dir, sealed_file
from vosforge.locks import lock
from vosforge.log import logger
from vosforge.remote import Place, RemotePath, Version

MAX_GIGABYTES = 200.0
IN_USE_SECONDS = 30.0
"""A copy requested this recently is not removed: the reader may not have opened it yet."""
STALLED_SECONDS = 3600.0
"""A download idle for this long is abandoned."""
LOCK = ".lock"
TAKEN = ".bytes"
"""What follows the folder's name in that of the file that says how much all copies take."""

_fetched: set[Path] = set()
"""By this process."""


def local_copy(place: Place) -> Path:
    """The local file for ``place``: itself, or a cached copy, fetched if missing.

    Open it right away. The least recently used copies make room for new ones. Raises InputError or VOSForgeError when
    the file is not there, cannot be fetched or cannot be kept.
    """
    if isinstance(place, Path):
        return place
    version = place.version
    if version is None:
        raise InputError(f"{place} does not exist: check the spelling")
    folder = cache_dir() / "remote"
    digest = hashlib.sha256(f"{place}\n{version.size}\n{version.mark}".encode()).hexdigest()[:16]
    copy = folder / f"{digest}-{place.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(copy, fcntl.LOCK_SH):
            if _is_whole(copy, version):
                return copy
        with _locked(copy, fcntl.LOCK_EX):  # whoever waits here finds the file that the first one fetched
            if not _is_whole(copy, version):
                _make_room(folder, version.size)
                _fetch(place, copy)
    except OSError as error:
        remedy = "free some space, lower VOSFORGE_REMOTE_GB, or name another folder in VOSFORGE_CACHE"
        raise InputError(f"cannot keep a copy of {place} in {folder} ({error.strerror}): {remedy}") from None
    return copy


def most_bytes() -> float:
    """Maximum total size of copies: $VOSFORGE_REMOTE_GB, else 200 gigabytes."""
    text = os.environ.get("VOSFORGE_REMOTE_GB", str(MAX_GIGABYTES))
    try:
        return float(text) * 1e9
    except ValueError:
        raise InputError(f"VOSFORGE_REMOTE_GB must be a number of gigabytes, not '{text}'") from None


def _fetch(place: RemotePath, copy: Path) -> None:
    logger.debug(f"fetching {place}")
    with sealed_file(copy) as temporary:
        place.download(temporary)
    _fetched.add(copy)


@cache
def _say_that_room_is_short(folder: Path) -> None:
    """Warn, once for each ``folder`` of copies."""
    size = f"{most_bytes() / 1e9:g} GB"
    logger.warning(f"this run reads more than {size} of copies, so it fetches some again: raise VOSFORGE_REMOTE_GB")


def _is_whole(copy: Path, version: Version) -> bool:
    """Whether the copy exists; marks it as most recently used."""
    try:
        os.utime(copy)
        return copy.stat().st_size == version.size
    except FileNotFoundError:
        return False


def _make_room(folder: Path, size: int) -> None:
    """Take ``size`` bytes for a copy; the least recently used ones are removed for it where there is too little room.

    How much is taken is in a file beside the folder: to list the folder for every copy would cost more and more.
    What a failed download took counts until the folder is listed the next time.
    """
    with folder.with_suffix(TAKEN).open("a+") as file:
        locked = lock(file, fcntl.LOCK_EX)
        file.seek(0)
        told = file.read()
        taken = int(told) if locked and told.isdecimal() else None
        if taken is None or taken + size > most_bytes():
            taken = _remove_oldest(folder, most_bytes() - size)
        file.truncate(0)
        file.write(str(taken + size))


def _remove_oldest(folder: Path, most: float) -> int:
    """Remove the least recently used copies, but none that is in use, until the rest has ``most`` bytes; how many."""
    copies = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process makes room too
            if path.suffix != LOCK:
                found = path.stat()
                copies.append((found.st_mtime, found.st_size, path))
    left = sum(size for _, size, _ in copies)
    for _, size, path in sorted(copies):
        if left <= most:
            break
        if _remove_unused(path):
            left -= size
            if path in _fetched:
                _say_that_room_is_short(folder)
    return left


def _remove_unused(copy: Path) -> bool:
    try:
        with _locked(copy, fcntl.LOCK_EX | fcntl.LOCK_NB) as beside:
            kept = STALLED_SECONDS if copy.name.startswith(UNFINISHED) else IN_USE_SECONDS
            if time.time() - copy.stat().st_mtime < kept:
                return False
            copy.unlink()
            beside.unlink()  # who waits for it finds no copy, and at worst fetches one that another fetches too
            return True
    except (BlockingIOError, FileNotFoundError):
        return False


@contextmanager
def _locked(copy: Path, how: int) -> Iterator[Path]:
    """Hold the lock of a copy (a file beside it); it ends with the process."""
    path = copy.with_name(copy.name + LOCK)
    with path.open("w+") as file:  # NFS gives a shared lock to those only who may read
        lock(file, how)  # without locks, two processes may fetch the same file, and the later copy stays
        yield path
