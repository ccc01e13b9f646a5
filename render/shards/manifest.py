"""The manifest: one JSON line a video, rebuilt from the shards, which are the truth."""

from pathlib import Path

from pydantic import ValidationError

from render.shards.format import VideoRow, to_json
from render.shards.reader import shard_rows
from vosforge.errors import InputError
from vosforge.files import write_sealed

MANIFEST = "manifest.jsonl"


def build_manifest(root: Path) -> tuple[VideoRow, ...]:
    """Read every sealed shard below ``root / "shards"``, write the manifest and return its rows.

    The same shards give the same bytes. Call it from one process at a time.
    """
    rows = tuple(row for path in sorted((root / "shards").glob("shard-*.h5")) for row in shard_rows(path))
    write_sealed(root / MANIFEST, "".join(f"{to_json(row.model_dump(mode='json'))}\n" for row in rows))
    return rows


def read_manifest(root: Path) -> tuple[VideoRow, ...]:
    """The rows of the manifest below ``root``. Raises InputError naming what is missing or broken."""
    path = root / MANIFEST
    try:
        lines = path.read_text().splitlines()
    except OSError:
        raise InputError(
            f"{root} is no rendered data set (no {MANIFEST} in it): name a folder made by render"
        ) from None
    try:
        return tuple(VideoRow.model_validate_json(line) for line in lines)
    except ValidationError:
        raise InputError(f"{path} is damaged: delete it and run 'vosforge render' again to rebuild it") from None
