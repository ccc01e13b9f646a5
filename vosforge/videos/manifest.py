"""The manifest: one JSON line a video. The shards are the truth; each adds its lines when it is sealed.

Until a run ends, lines are in the order of sealing, and a shard that was sealed again has lines twice: the last ones
count. Where parts of a data set are rendered by themselves, each writes a piece of its own
(``manifest-07-of-40.jsonl``), whose lines count more than the manifest's; building the manifest folds the pieces in.
"""

import errno
import json
import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from vosforge.errors import InputError
from vosforge.files import remove_sealed, write_sealed
from vosforge.log import logger
from vosforge.remote import Place, RemotePath
from vosforge.trouble import unread
from vosforge.videos.cache import local_copy
from vosforge.videos.format import VideoRow, to_json
from vosforge.videos.reader import shard_rows

MANIFEST, PIECES = "manifest.jsonl", "manifest-*-of-*.jsonl"
ADDING_SECONDS = 0.2
"""After so long, half a line is not one that is being written."""


def piece_name(label: str) -> str:
    """The name of the piece of the part with this label ("07-of-40"); "": of the manifest itself."""
    return f"manifest-{label}.jsonl" if label else MANIFEST


def pieces_of(root: Place) -> list[Place]:
    """The pieces below ``root``, sorted; none on a store that lists no folders, as many web servers."""
    if isinstance(root, Path):
        return sorted(root.glob(PIECES))
    try:
        return sorted(root.glob(PIECES))
    except InputError as error:
        level = logging.DEBUG if root.scheme in ("http", "https") else logging.WARNING
        logger.log(level, "only videos in %s count, for its pieces cannot be listed: %s", root / MANIFEST, error)
        return []


def has_manifest(root: Place) -> bool:
    """Whether the folder ``root`` is a data set's: it has a manifest, or a piece of one."""
    return (root / MANIFEST).exists() or bool(pieces_of(root))


def append_manifest(root: Path, rows: Iterable[VideoRow], label: str = "") -> None:
    """Add the ``rows`` of a shard that was just sealed, to the piece ``label``. Call it from one process at a time."""
    data = "".join(map(_line, rows)).encode()
    with (root / piece_name(label)).open("ab", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            if file.write(data) < len(data):  # at once: a kill leaves all of it or nothing
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)  # half a line would spoil what follows
            raise


def build_manifest(root: Path, *, anew: bool = True, shards: Iterable[Place] | None = None) -> None:
    """Bring the manifest in order: a line for each video of the sealed ``shards`` (below ``root / "shards"``), by id.

    The same shards give the same bytes, and pieces are folded in. Unless ``anew``, lines are taken for shards that did
    not change since, so that only the others are read. Call it when no part is rendered.
    """
    pieces = [path for path in pieces_of(root) if isinstance(path, Path)]
    known = {} if anew else _known([root / MANIFEST, *pieces])
    _write(root / MANIFEST, sorted((root / "shards").glob("shard-*.h5")) if shards is None else shards, known)
    for piece in pieces:
        remove_sealed(piece)


def build_piece(root: Path, label: str, shards: Iterable[Place], *, anew: bool = False) -> None:
    """Bring one piece in order, for its sealed ``shards``, as `build_manifest` does for all."""
    known = {} if anew else _known([root / MANIFEST, root / piece_name(label)])
    _write(root / piece_name(label), shards, known)


def read_manifest(root: Place) -> tuple[VideoRow, ...]:
    """The rows of the manifest and its pieces below ``root``, or of a remote data set's shards where it has none.

    Raises InputError naming what is missing or broken.
    """
    pieces = pieces_of(root)
    while True:
        found = [(path, data) for path in (root / MANIFEST, *pieces) if (data := _read(root, path)) is not None]
        before, pieces = pieces, pieces_of(root) if pieces else []
        if {*before} <= {*pieces}:
            break  # else some were folded into the manifest meanwhile
    if not found and isinstance(root, Path):
        raise _absent(root)
    if not found:
        if rows := _rows_of_shards(root):
            return rows
        raise InputError(f"{root} has no {MANIFEST} and no shards/shard-*.h5: name a data set's folder, or one shard")
    last: dict[str, VideoRow] = {}
    for path, data in found:
        try:
            last.update((row.id, row) for row in map(VideoRow.model_validate_json, data.decode().splitlines()))
        except (ValidationError, UnicodeDecodeError):
            raise InputError(f"{path} is damaged: delete it and run 'vosforge render' again to rebuild it") from None
    return tuple(sorted(last.values(), key=lambda row: (row.shard, row.id)))


def _absent(root: Place) -> InputError:
    return InputError(f"{root} is not a rendered data set (no {MANIFEST} in it): name a folder made by render")


def _read(root: Place, path: Place) -> bytes | None:
    """What is in a manifest or piece; None where there is no such file."""
    try:
        data = local_copy(path).read_bytes() if path.exists() else None
        if data and not data.endswith(b"\n") and isinstance(path, Path):  # perhaps lines are being added
            time.sleep(ADDING_SECONDS)
            data = path.read_bytes()
        return data
    except FileNotFoundError:  # folded meanwhile
        return None
    except OSError as error:
        raise unread(path, error, _absent(root)) from None


def _write(path: Path, shards: Iterable[Place], known: Mapping[str, "_Lines"]) -> None:
    """Write the manifest or piece at ``path`` for ``shards``, in order, unless that is what it holds."""
    lines: list[str] = []
    for shard in shards:
        told = known.get(shard.name)
        # A store's clock is not this machine's. There, only a run of ours seals a shard again.
        current = told is not None and (isinstance(shard, RemotePath) or shard.stat().st_mtime_ns <= told.written)
        lines += told.lines if told and current else map(_line, shard_rows(shard))
    data = "".join(lines).encode()
    if not path.exists() or data != path.read_bytes():
        write_sealed(path, data)


def _rows_of_shards(root: Place) -> tuple[VideoRow, ...]:
    shards: list[Place] = sorted((root / "shards").glob("shard-*.h5"))
    return tuple(row for shard in shards for row in shard_rows(shard))


def _line(row: VideoRow) -> str:
    return f"{to_json(row.model_dump(mode='json'))}\n"


class _Lines(NamedTuple):
    """The last lines of a shard's videos, in order of the ids, and when the file they are from was written."""

    lines: list[str]
    written: int


def _known(paths: Iterable[Path]) -> dict[str, _Lines]:
    """What the manifest and pieces at ``paths`` say of shards, the last of them first; nothing if one is damaged.

    Of a shard with a quarantined video nothing is known: a run that was killed may have sealed it again.
    """
    known: dict[str, _Lines] = {}
    for path in paths:
        if not path.exists():
            continue
        written = path.stat().st_mtime_ns
        last: dict[tuple[str, str], str] = {}
        doubted = set()
        try:
            for line in path.read_bytes().decode().splitlines():
                row = json.loads(line)
                last[row["shard"], row["id"]] = f"{line}\n"
                if row["state"] == "quarantined":
                    doubted.add(row["shard"])
        except (ValueError, TypeError, KeyError):
            logger.debug("%s is damaged: the shards are read instead", path)
            return {}
        found: dict[str, list[str]] = {}
        for (shard, _), line in sorted(last.items()):
            found.setdefault(shard, []).append(line)
        known |= {shard: _Lines(lines, written) for shard, lines in found.items()}
        for shard in doubted:
            del known[shard]
    return known
