"""The manifest: one JSON line a video. The shards are the truth; each adds its lines when it is sealed.

Until a run ends, lines are in the order of sealing, and a shard that was sealed again has lines twice: the last ones
count.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from vosforge.errors import InputError
from vosforge.files import write_sealed
from vosforge.trouble import unread
from vosforge.videos.cache import local_copy
from vosforge.videos.format import VideoRow, to_json
from vosforge.videos.reader import shard_rows
from vosforge.videos.remote import Place, RemotePath

MANIFEST = "manifest.jsonl"


def append_manifest(root: Path, rows: Iterable[VideoRow]) -> None:
    """Add the ``rows`` of a shard that was just sealed. Call it from one process at a time."""
    with (root / MANIFEST).open("ab", buffering=0) as file:
        file.write("".join(map(_line, rows)).encode())  # at once: a kill leaves all of it or nothing
        os.fsync(file.fileno())


def build_manifest(root: Path, *, anew: bool = True) -> None:
    """Bring the manifest in order: a line for each video of the sealed shards below ``root / "shards"``, by id.

    The same shards give the same bytes. Unless ``anew``, the lines there are taken for shards that did not change
    since, so that only the others are read. Call it from one process at a time.
    """
    path = root / MANIFEST
    before = b"" if anew or not path.exists() else path.read_bytes()
    written = path.stat().st_mtime_ns if before else 0
    known = _by_shard(before)
    lines: list[str] = []
    for shard in sorted((root / "shards").glob("shard-*.h5")):
        held = known.get(shard.name) if shard.stat().st_mtime_ns <= written else None
        lines += held or map(_line, shard_rows(shard))
    data = "".join(lines).encode()
    if data != before or not path.exists():
        write_sealed(path, data)


def read_manifest(root: Place) -> tuple[VideoRow, ...]:
    """The rows of the manifest below ``root``, or of a remote data set's shards where it has no manifest.

    Raises InputError naming what is missing or broken.
    """
    path = root / MANIFEST
    if isinstance(path, RemotePath) and not path.exists():
        if rows := _rows_of_shards(root):
            return rows
        raise InputError(f"{root} has no {MANIFEST} and no shards/shard-*.h5: name a data set's folder, or one shard")
    try:
        data = local_copy(path).read_bytes()
    except OSError as error:
        absent = InputError(f"{root} is not a rendered data set (no {MANIFEST} in it): name a folder made by render")
        raise unread(path, error, absent) from None
    try:
        last = {row.id: row for row in map(VideoRow.model_validate_json, data.decode().splitlines())}
    except (ValidationError, UnicodeDecodeError):
        raise InputError(f"{path} is damaged: delete it and run 'vosforge render' again to rebuild it") from None
    return tuple(sorted(last.values(), key=lambda row: (row.shard, row.id)))


def _rows_of_shards(root: Place) -> tuple[VideoRow, ...]:
    shards: list[Place] = sorted((root / "shards").glob("shard-*.h5"))
    return tuple(row for shard in shards for row in shard_rows(shard))


def _line(row: VideoRow) -> str:
    return f"{to_json(row.model_dump(mode='json'))}\n"


def _by_shard(data: bytes) -> dict[str, list[str]]:
    """The last line of each video, by shard and in order of the ids; none where one of them is damaged."""
    try:
        lines = [(json.loads(line), line) for line in data.decode().splitlines(keepends=True)]
        last = {(row["shard"], row["id"]): line for row, line in lines}
    except (ValueError, TypeError, KeyError):
        return {}
    found: dict[str, list[str]] = {}
    for (shard, _), line in sorted(last.items()):
        found.setdefault(shard, []).append(line)
    return found
