"""The files of an import source: a folder, or a tar that is read in place."""

import os
import sys
import tarfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vosforge.errors import InputError
from vosforge.videos.codec import encode
from vosforge.videos.film import Film, is_film
from vosforge.videos.folders import is_hidden
from vosforge.videos.names import numbered

TAR_BLOCK = 512
"""Of a tar, which ends with one of zeros."""


class Entry(NamedTuple):
    """Location of a file's bytes."""

    path: str
    """The file itself, or the tar that holds it."""
    offset: int = 0
    size: int = -1
    """-1: to the end."""
    frame: int | None = None
    """The frame's index in the film at that location; None for a file."""

    def read(self) -> bytes:
        """The bytes, or a JPEG of the film's frame. InputError when they cannot be read."""
        if self.frame is not None:
            return encode(_film(self._replace(frame=None)).frame(self.frame), "jpeg", JPEG_QUALITY)
        try:
            with Path(self.path).open("rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise InputError(f"cannot read {self.path} ({error.strerror}): check it and try again") from None


JPEG_QUALITY = 95
"""For frames not stored as JPEG; no chroma subsampling."""


@lru_cache(maxsize=1)
def _film(entry: Entry) -> Film:
    whole = not entry.offset
    return Film(Path(entry.path) if whole else entry.read(), "" if whole else f"at byte {entry.offset} of {entry.path}")


def frame_times(entries: Sequence[Entry]) -> list[float]:
    """When each frame of a film is shown, in seconds from its first one; nothing for frames that are files."""
    if not entries or entries[0].frame is None:
        return []
    times = _film(entries[0]._replace(frame=None)).times
    return [times[entry.frame] for entry in entries if entry.frame is not None]


Tree = dict[str, dict[str, Entry]]
"""Files by their folder (relative to the source, "" for the source itself, with forward slashes) and name."""


def read_tree(source: Path) -> Tree:
    """The files of a folder, of a tar, or of all tars of a folder that holds nothing else, hidden ones left out.

    A film is as a folder of its name that holds its frames, 00000.jpg and so on. InputError for what is not there, for
    a tar that is compressed or cut short, and for members that are links or devices or would lead out of it.
    """
    tree: Tree = {}
    if source.is_dir():
        if tars := sorted(source.glob("*.tar")):
            if any(path.is_dir() and not is_hidden(path.name) for path in source.iterdir()):
                raise InputError(f"{source} holds both tars and folders: name the one to import")
            for tar in tars:
                _add_tar(tree, tar)
        else:
            _add_folder(tree, source)
    elif source.is_file() and is_film(source.name):
        tree[""] = _frames_of(Entry(str(source)))
    elif source.is_file():
        _add_tar(tree, source)
    else:
        raise InputError(f"{source} does not exist: name a folder of images and masks, a tar of one, or a film")
    return _with_films(tree)


def _with_films(tree: Tree) -> Tree:
    """The tree with each film's frames, but of a film beside a folder of its name, which holds them already."""
    films: Tree = {}
    for folder, files in tree.items():
        for name, entry in files.items():
            inside = str(PurePosixPath(folder, PurePosixPath(name).stem))
            if is_film(name) and inside not in tree:
                films[inside] = _frames_of(entry)
    return tree | films


def _frames_of(film: Entry) -> dict[str, Entry]:
    return {f"{name}.jpg": film._replace(frame=t) for t, name in enumerate(numbered(len(_film(film))))}


def named_file(source: Path, folder: str, name: str = "") -> str:
    """How messages call a file of the source."""
    inside = "/".join(part for part in (folder, name) if part)
    return f"{source}/{inside}" if source.is_dir() else f"{inside} in {source}"


def _add_folder(tree: Tree, root: Path) -> None:
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(folder)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        inside = PurePosixPath(Path(folder).relative_to(root).as_posix())
        files = {sys.intern(name): Entry(f"{folder}/{name}") for name in names if not is_hidden(name)}
        if files:
            tree["" if inside == PurePosixPath() else str(inside)] = files


def _unreadable(error: OSError) -> None:
    raise InputError(f"cannot read the folder {error.filename} ({error.strerror}): check its permissions")


def _add_tar(tree: Tree, path: Path) -> None:
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # else a million members' records stay in memory
                _add_member(tree, path, member)
            end = tar.offset
        with path.open("rb") as file:
            file.seek(end)
            if file.read(TAR_BLOCK) != bytes(TAR_BLOCK):
                raise tarfile.ReadError("it has no end marker")
    except tarfile.TarError as error:
        raise InputError(
            f"{path} is not a complete, uncompressed tar ({error}): decompress it or fetch it again"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}): check it and try again") from None


def _add_member(tree: Tree, path: Path, member: tarfile.TarInfo) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise InputError(f"{path} holds '{member.name}', which leads outside it: pack it again without that")
    if member.isdir():
        return
    if not member.isreg() or member.issparse():
        raise InputError(f"{path} holds '{member.name}', a link, device or sparse file: pack it again as plain files")
    if any(is_hidden(part) for part in name.parts):
        return
    folder = "" if name.parent == PurePosixPath() else str(name.parent)
    files = tree.setdefault(folder, {})
    known = files.get(name.name)
    if known is not None and known.path != str(path):
        raise InputError(f"'{member.name}' is in both {known.path} and {path}: remove one of them")
    files[sys.intern(name.name)] = Entry(sys.intern(str(path)), member.offset_data, member.size)
