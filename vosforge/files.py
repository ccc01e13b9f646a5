"""Atomic files, and the cache folder."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vosforge.errors import InputError, VOSForgeError

UNFINISHED_FOLDER = ".unfinished-"
UNFINISHED = ".writing-"
"""Prefix of unfinished files: safe to delete when no writer runs."""
STEM_CHARACTERS = 40
"""So much of a file's stem is in its unfinished name: who wrote it can be told, and no name is too long."""


def cache_dir() -> Path:
    """The cache folder: $VOSFORGE_CACHE, else ~/.cache/vosforge."""
    named = os.environ.get("VOSFORGE_CACHE")
    return at_home(named) if named else Path.home() / ".cache" / "vosforge"


def at_home(path: Path | str) -> Path:
    """``path`` with a leading ~ or ~user expanded, if that home exists."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def check_folder(path: Path) -> None:
    """Raise InputError unless ``path`` is a folder or can become one, VOSForgeError unless it may be written to.

    Called before long work; creates nothing.
    """
    if re.fullmatch(r"[a-z][a-z0-9+.-]+:", path.parts[0] if path.parts else ""):
        raise InputError(f"{path} is a URL, but results go to a local folder: name one, and copy it afterwards")
    there = next((place for place in (path, *path.parents) if place.exists()), Path())
    if not there.is_dir():
        raise InputError(f"{there} is a file: name a folder to write to")
    if not os.access(there, os.W_OK | os.X_OK):
        raise VOSForgeError(f"cannot write to {there} (it is read-only): name a writable folder")


@contextmanager
def _naming(path: Path, temporary: Path) -> Iterator[None]:
    """Make system errors name ``path`` instead of its ``temporary`` form or nothing (as on a full disk)."""
    try:
        yield
    except OSError as error:
        nameless = error.filename is None and error.errno is not None
        if nameless or str(error.filename).startswith(str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def sealed_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it is renamed to ``path`` when the block succeeds.

    The content is on disk before it gets its name (fsync, then an atomic rename), so a reader never sees a partial
    file. If the block raises, nothing is left. Folders are created as needed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _naming(path, path.parent / UNFINISHED):
        prefix = f"{UNFINISHED}{path.stem[:STEM_CHARACTERS]}-"
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=path.suffix, dir=path.parent)
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
    """Write ``data`` to ``path`` atomically."""
    with sealed_file(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def remove_sealed(*paths: Path) -> None:
    """Remove those files that exist, and sync their folders."""
    there = [path for path in paths if path.exists()]
    for path in there:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in there}:
        _sync(folder)


def move_sealed(path: Path, target: Path) -> None:
    """Move a file to ``target`` on the same file system, and sync both folders."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    _sync(target.parent)
    _sync(path.parent)


@contextmanager
def sealed_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it is renamed to ``path`` when the block succeeds, else removed.

    ``path`` must be missing or an empty folder. Files are not synced: use it for reproducible results. A killed process
    leaves ``.unfinished-…`` for the user to delete: another writer may be using it.
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


def remove_unfinished(folder: Path, mine: Callable[[str], bool] = lambda stem: True) -> None:
    """Delete leftovers of killed writers in ``folder``; call it only when no writer runs.

    ``mine``: says of a stem whether no other writer writes files of that name; then others may run.
    """
    for leftover in folder.glob(f"{UNFINISHED}*"):
        if mine(leftover.name.removeprefix(UNFINISHED).rpartition("-")[0]):
            leftover.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
