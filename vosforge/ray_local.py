"""Set-up of a local Ray: a folder with short paths, and a token if the home is not writable."""

import os
import secrets
from pathlib import Path

from vosforge.processes import short_folder


def ray_folder() -> Path:
    """Folder of a local Ray's sockets: below RAY_TMPDIR or TMPDIR if short enough, else a shorter one."""
    return short_folder(os.environ.get("RAY_TMPDIR", "")) / "ray"


def lend_token() -> None:
    """Give Ray a token for this process if it cannot write one into ``~/.ray``."""
    folder = Path.home() / ".ray"
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not (folder / "auth_token").exists() and not os.access(there, os.W_OK):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
