"""Files that are there whole or not at all, and the folder for those that can be had again."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vosforge.errors import InputError, VOSForgeError, first_line

MISPLACED = (FileExistsError, NotADirectoryError, IsADirectoryError)
"""What the system says of a file where a folder should be, and the other way round."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
"""What it says of a full disk and of a place that may not be written."""
UNFINISHED_FOLDER = ".unfinished-"
UNFINISHED = ".writing-"
"""How the name of a file begins that nobody finished: safe to delete when no writer runs."""


def cache_dir() -> Path:
    """Where VOSForge keeps what it fetched and prepared: $VOSFORGE_CACHE, else ~/.cache/vosforge."""
    named = os.environ.get("VOSFORGE_CACHE")
    return at_home(named) if named else Path.home() / ".cache" / "vosforge"


def at_home(path: Path | str) -> Path:
    """``path`` with a ~ at its beginning replaced by the home of the user, or of the one it names, if there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def check_folder(path: Path) -> None:
    """Raise InputError unless ``path`` is a folder or can become one, VOSForgeError unless it may be written to.

    For the time before long work whose results need a place; nothing is made.
    """
    if re.fullmatch(r"[a-z][a-z0-9+.-]+:", path.parts[0] if path.parts else ""):
        raise InputError(f"{path} is a URL, but results go to a local folder: name one, and copy it afterwards")
    there = next((place for place in (path, *path.parents) if place.exists()), Path())
    if not there.is_dir():
        raise InputError(f"{there} is a file: name a folder to write to")
    if not os.access(there, os.W_OK | os.X_OK):
        raise VOSForgeError(f"cannot write to {there} (it is read-only): name a writable folder")


def why(error: OSError) -> str:
    """What the system says; HDF5 says more than anyone reads."""
    return os.strerror(error.errno) if error.errno else first_line(error)


@contextmanager
def room_to_write(out: Path) -> Iterator[None]:
    """Turn a full disk or a folder that may not be written into one sentence that names ``out``."""
    try:
        yield
    except OSError as error:
        if not isinstance(error, MISPLACED) and error.errno not in NO_ROOM:
            raise
        kind = InputError if isinstance(error, MISPLACED) else VOSForgeError
        raise kind(f"cannot write to {out} ({why(error)}): name a writable folder with free space") from None


@contextmanager
def _naming(path: Path, temporary: Path) -> Iterator[None]:
    """Have the system's errors name ``path`` where they name its ``temporary`` form, or nothing (as on a full disk)."""
    try:
        yield
    except OSError as error:
        nameless = error.filename is None and error.errno is not None
        if nameless or str(error.filename).startswith(str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def sealed_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; what is written there becomes ``path`` when the block ends well.

    The content is on disk before it gets its name (fsync, then an atomic rename), so that a reader never meets half
    a file, whatever is killed when. When the block raises, nothing is left. Folders are made as needed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _naming(path, path.parent / UNFINISHED):
        handle, name = tempfile.mkstemp(prefix=UNFINISHED, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with _naming(path, temporary):
            yield temporary
            temporary.chmod(0o644)
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell of
            temporary.unlink(missing_ok=True)
        raise


def write_sealed(path: Path, data: bytes | str) -> None:
    """Write ``data`` to ``path`` whole or not at all."""
    with sealed_file(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def remove_sealed(path: Path) -> None:
    """Remove a file, if it is there, and have the folder know it on disk before anything else happens."""
    if path.exists():
        path.unlink()
        _sync(path.parent)


def move_sealed(path: Path, target: Path) -> None:
    """Move a file to ``target`` on the same file system, and have both folders know it on disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    _sync(target.parent)
    _sync(path.parent)


@contextmanager
def sealed_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; it becomes ``path`` when the block ends well, and is removed when not.

    ``path`` must be missing or an empty folder. The files are not forced to the disk: it is for what can be made again.
    What a killed process leaves (``.unfinished-…``) is for the user to delete: another writer may be at work in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _naming(path, path.parent / UNFINISHED_FOLDER):
        temporary = Path(tempfile.mkdtemp(prefix=UNFINISHED_FOLDER, dir=path.parent))
    try:
        with _naming(path, temporary):
            yield temporary
            temporary.chmod(0o755)
            temporary.replace(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_unfinished(folder: Path) -> None:
    """Delete what killed writers left in ``folder``; call it only where no writer runs."""
    for leftover in folder.glob(f"{UNFINISHED}*"):
        leftover.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
