"""One writer per folder: by a lock or, on file systems without locks, by a lease.

A lock ends with its process. A lease is a file that its owner keeps touching: a stale one may be taken over.

Locks of several names divide a folder's work among processes. Each takes its own first, then looks whether a rival's is
held: of two rivals, at least one sees the other.
"""

import errno
import fcntl
import json
import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from vosforge.errors import InputError
from vosforge.log import logger
from vosforge.trouble import attempting

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of ``flock`` on file systems without locks."""
BEAT_SECONDS, STALE_SECONDS = 10.0, 60.0
"""How often a lease is touched, and after how long it counts as stale."""
SETTLE_SECONDS = 0.5
"""If two processes take a stale lease at once, or any without hard links, the later one wins: each waits this long
before checking."""
WAIT_SECONDS = 0.5
"""Between two tries of a process that waits for its turn."""


class BusyError(InputError):
    """Another process holds what this one needs."""


def lock(file: IO, how: int) -> bool:
    """``flock`` an open file; False on file systems without locks.

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
def one_writer(
    folder: Path, doing: str, name: str = "", rivals: Callable[[str], bool] = lambda name: True
) -> Iterator[None]:
    """Hold ``folder`` as the only process ``doing`` ("rendering into") it, but for those with another kind of lock.

    ``name``: of the lock; ``rivals``: says of another lock's name whether its holder excludes this process.
    Raises BusyError when another process does, MachineError when that cannot be determined.
    """
    busy = f"another process is {doing} {folder}"
    with attempting(f"write to {folder}"):
        file = _file(folder, "lock", name).open("w")
    with file, ExitStack() as stack:
        with attempting(f"lock {folder}"):
            try:
                locked = lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BusyError(f"{busy}: wait for it or stop it") from None
        if not locked:
            lease = _file(folder, "lease", name)
            logger.warning("%s has no file locks: a lease file (%s) keeps other processes out", folder, lease.name)
            stack.enter_context(_lease(lease, busy))
        with attempting(f"lock {folder}"):
            others = {path.name.removeprefix(".lock").removeprefix("-") for path in folder.glob(".lock*")} - {name}
            for other in sorted(filter(rivals, others)):
                if _is_locked(folder, other) if locked else _is_leased(folder, other, name):
                    raise BusyError(f"{busy} ({_file(folder, 'lock', other).name}): wait for it or stop it")
        yield


@contextmanager
def in_turn(folder: Path, doing: str, name: str) -> Iterator[None]:
    """Wait until no other process is ``doing`` this to ``folder``, and keep others waiting. ``name``: of the lock."""
    with ExitStack() as stack:
        told = False
        while True:
            try:
                stack.enter_context(one_writer(folder, doing, name, rivals=lambda name: False))
                break
            except BusyError:
                if not told:
                    logger.info("another process is %s %s, waiting for it", doing, folder)
                told = True
                time.sleep(WAIT_SECONDS)
        yield


def _file(folder: Path, kind: str, name: str) -> Path:
    return folder / f".{kind}{f'-{name}' if name else ''}"


def _is_locked(folder: Path, name: str) -> bool:
    with _file(folder, "lock", name).open() as file:
        try:
            lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _is_leased(folder: Path, name: str, own: str) -> bool:
    lease = _file(folder, "lease", name)
    holder = _held(lease)
    try:
        return holder is not None and _alive(lease, holder, _file(folder, "lease", own).stat().st_mtime)
    except FileNotFoundError:  # it ended meanwhile
        return False


@contextmanager
def _lease(path: Path, busy: str) -> Iterator[None]:
    mine = json.dumps({"host": _host(), "pid": os.getpid(), "id": uuid.uuid4().hex})
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
            raise BusyError(f"{busy} (process {owner['pid']} on {owner['host'].split()[0]}): wait for it or stop it")
        try:
            os.link(own, path)
        except FileExistsError:
            if holder is None or _held(path) != holder:
                raise BusyError(f"{busy}: wait for it or stop it") from None
            own.replace(path)  # a stale one
        except OSError:  # a file system without hard links
            own.replace(path)
    finally:
        own.unlink(missing_ok=True)
    time.sleep(SETTLE_SECONDS)
    if _held(path) != mine:
        raise BusyError(f"{busy}: wait for it or stop it")


def _host() -> str:
    """This machine and PID namespace."""
    ids = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {ids.readlink()}" if ids.is_symlink() else socket.gethostname()


def _alive(path: Path, holder: str, now: float) -> bool:
    """Whether a lease's owner is alive; ``now`` is the file system's time, shared by all hosts."""
    try:
        owner = json.loads(holder)
        host, pid = owner["host"], int(owner["pid"])
    except (ValueError, KeyError, TypeError):
        return False
    if host == _host() and Path("/proc/self").exists() and not Path(f"/proc/{pid}").exists():
        return False
    try:
        return now - path.stat().st_mtime < STALE_SECONDS
    except FileNotFoundError:  # it ended since its lease was read
        return False


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
            logger.warning("cannot refresh the lease %s (%s)", path, error.strerror)
