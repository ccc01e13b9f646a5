"""What a Ray on this machine alone needs of it: a folder with short paths, and a token where no home can keep one."""

import os
import secrets
from pathlib import Path

from vosforge.processes import short_folder


def ray_folder() -> Path:
    """Where a local Ray keeps its sockets: below RAY_TMPDIR or TMPDIR where that is short, else where it is."""
    return short_folder(os.environ.get("RAY_TMPDIR", "")) / "ray"


def lend_token() -> None:
    """Give Ray a token of this process alone where it would write one into ``~/.ray``, which cannot be written."""
    folder = Path.home() / ".ray"
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not (folder / "auth_token").exists() and not os.access(there, os.W_OK):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
