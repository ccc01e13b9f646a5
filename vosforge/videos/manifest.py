"""The manifest: one JSON line a video, rebuilt from the shards, which are the truth."""

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


def build_manifest(root: Path) -> tuple[VideoRow, ...]:
    """Read every sealed shard below ``root / "shards"``, write the manifest and return its rows.

    The same shards give the same bytes. Call it from one process at a time.
    """
    rows = _rows_of_shards(root)
    write_sealed(root / MANIFEST, "".join(f"{to_json(row.model_dump(mode='json'))}\n" for row in rows))
    return rows


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
        return tuple(VideoRow.model_validate_json(line) for line in data.decode().splitlines())
    except (ValidationError, UnicodeDecodeError):
        raise InputError(f"{path} is damaged: delete it and run 'vosforge render' again to rebuild it") from None


def _rows_of_shards(root: Place) -> tuple[VideoRow, ...]:
    shards: list[Place] = sorted((root / "shards").glob("shard-*.h5"))
    return tuple(row for shard in shards for row in shard_rows(shard))
