"""The files of something to import: a folder's, or a tar's, which is read in place and never unpacked."""

import os
import sys
import tarfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vosforge.errors import InputError

BLOCK = 512
"""Of a tar, which ends with one of zeros."""


class Entry(NamedTuple):
    """Where a file's bytes are."""

    path: str
    """The file itself, or the tar that holds it."""
    offset: int = 0
    size: int = -1
    """-1: to the end."""

    def read(self) -> bytes:
        """The bytes. InputError when they cannot be read."""
        try:
            with Path(self.path).open("rb") as file:
                file.seek(self.offset)
                return file.read(self.size)
        except OSError as error:
            raise InputError(f"cannot read {self.path} ({error.strerror}): check it and try again") from None


Tree = dict[str, dict[str, Entry]]
"""Files by their folder (relative to the source, "" for the source itself, with forward slashes) and name."""


def read_tree(source: Path) -> Tree:
    """The files of a folder, of a tar, or of all tars of a folder that holds nothing else, hidden ones left out.

    InputError for what is not there, for a tar that is compressed or cut short, and for members that are links or
    devices or would lead out of it.
    """
    tree: Tree = {}
    if source.is_dir():
        if tars := sorted(source.glob("*.tar")):
            if any(path.is_dir() and not path.name.startswith(".") for path in source.iterdir()):
                raise InputError(f"{source} holds both tars and folders: name the one to import")
            for tar in tars:
                _add_tar(tree, tar)
        else:
            _add_folder(tree, source)
    elif source.is_file():
        _add_tar(tree, source)
    else:
        raise InputError(f"there is no {source}: name a folder of images and masks, or a tar of one")
    return tree


def shown(source: Path, folder: str, name: str = "") -> str:
    """How messages call a file of the source."""
    inside = "/".join(part for part in (folder, name) if part)
    return f"{source}/{inside}" if source.is_dir() else f"{inside} in {source}"


def _add_folder(tree: Tree, root: Path) -> None:
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_unreadable):
        real = os.path.realpath(folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        inside = PurePosixPath(Path(folder).relative_to(root).as_posix())
        files = {sys.intern(name): Entry(f"{folder}/{name}") for name in names if not name.startswith(".")}
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
            if file.read(BLOCK) != bytes(BLOCK):
                raise tarfile.ReadError("it has no end")
    except tarfile.TarError as error:
        raise InputError(f"{path} is no whole, uncompressed tar ({error}): decompress it or fetch it again") from None
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}): check it and try again") from None


def _add_member(tree: Tree, path: Path, member: tarfile.TarInfo) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise InputError(f"{path} holds '{member.name}', which leads out of it: pack it again without")
    if member.isdir():
        return
    if not member.isreg() or member.issparse():
        raise InputError(f"{path} holds '{member.name}', a link, device or sparse file: pack it again as plain files")
    if any(part.startswith(".") for part in name.parts):
        return
    folder = "" if name.parent == PurePosixPath() else str(name.parent)
    files = tree.setdefault(folder, {})
    known = files.get(name.name)
    if known is not None and known.path != str(path):
        raise InputError(f"'{member.name}' is in both {known.path} and {path}: remove one of them")
    files[sys.intern(name.name)] = Entry(sys.intern(str(path)), member.offset_data, member.size)
