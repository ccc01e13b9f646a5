"""One writer a folder: by a lock, or, where the file system has none, by a lease.

A lock ends with its process. A lease is a file that its owner touches again and again: one that nobody touches any
more may be taken over.
"""

import errno
import fcntl
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from vosforge.errors import InputError
from vosforge.log import logger
from vosforge.trouble import attempting

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What ``flock`` answers on file systems that have no locks."""
BEAT_SECONDS, STALE_SECONDS = 10.0, 60.0
"""How often a lease is touched, and how long untouched it counts as left behind."""
SETTLE_SECONDS = 0.5
"""Of two processes that take a lease at once, the later one has it: so long each waits before it looks."""


def lock(file: IO, how: int) -> bool:
    """``flock`` an opened file; False where the file system has no locks.

    Raises BlockingIOError, with LOCK_NB, when another process holds it.
    """
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    return True


@contextmanager
def one_writer(folder: Path, doing: str) -> Iterator[None]:
    """Be the one process that is ``doing`` ("rendering into") ``folder``.

    Raises InputError when another one is, MachineError when that cannot be found out.
    """
    busy = f"another process is {doing} {folder}"
    with attempting(f"write to {folder}"):
        file = (folder / ".lock").open("w")
    with file:
        with attempting(f"lock {folder}"):
            try:
                locked = lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{busy}: wait for it or stop it") from None
        if locked:
            yield
        else:
            logger.warning("%s has no file locks: a lease file (.lease) keeps other processes out", folder)
            with _lease(folder / ".lease", busy):
                yield


@contextmanager
def _lease(path: Path, busy: str) -> Iterator[None]:
    mine = json.dumps({"host": _host(), "pid": os.getpid()})
    with attempting(f"write to {path.parent}"):
        _take(path, mine, busy)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        with suppress(OSError):  # what is left of it grows stale
            if _held(path) == mine:
                path.unlink(missing_ok=True)


def _take(path: Path, mine: str, busy: str) -> None:
    handle, name = tempfile.mkstemp(prefix=".lease-", dir=path.parent)
    own = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(mine)
        if (holder := _held(path)) is not None and _alive(path, holder, own.stat().st_mtime):
            owner = json.loads(holder)
            raise InputError(f"{busy} (process {owner['pid']} on {owner['host'].split()[0]}): wait for it or stop it")
        own.replace(path)
    finally:
        own.unlink(missing_ok=True)
    time.sleep(SETTLE_SECONDS)
    if _held(path) != mine:
        raise InputError(f"{busy}: wait for it or stop it")


def _host() -> str:
    """This machine, or the container on it whose process ids are ours."""
    ids = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {ids.readlink()}" if ids.is_symlink() else socket.gethostname()


def _alive(path: Path, holder: str, now: float) -> bool:
    """Whether the owner of a lease is still there; ``now`` is the file system's time, which hosts share."""
    try:
        owner = json.loads(holder)
        host, pid = owner["host"], int(owner["pid"])
    except (ValueError, KeyError, TypeError):
        return False
    if host == _host() and Path("/proc/self").exists() and not Path(f"/proc/{pid}").exists():
        return False
    return now - path.stat().st_mtime < STALE_SECONDS


def _held(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT_SECONDS):
        try:
            os.utime(path)
        except OSError as error:  # the next beat may reach it again
            logger.warning("%s cannot be kept alive (%s)", path, error.strerror)
