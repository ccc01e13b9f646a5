"""What a Ray on this machine alone needs of it: a folder with short paths, and a token where no home can keep one."""

import os
import secrets
import tempfile
from pathlib import Path

from vosforge.errors import InputError

LONGEST = 40
"""Characters of a folder below which Ray's sockets still have names of less than 108, the most Linux takes."""
FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def ray_folder() -> Path:
    """Where a local Ray keeps its sockets: below RAY_TMPDIR or TMPDIR where that is short, else a folder of `FOLDERS`.

    Raises InputError where no such folder can be written.
    """
    wanted = (os.environ.get("RAY_TMPDIR"), tempfile.gettempdir(), *FOLDERS)
    for folder in (Path(name).absolute() for name in wanted if name):
        if len(str(folder)) <= LONGEST and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return folder / "ray"
    raise InputError(f"Ray needs a folder with a path of at most {LONGEST} characters: name one in TMPDIR")


def lend_token() -> None:
    """Give Ray a token of this process alone where it would write one into ``~/.ray``, which cannot be written."""
    folder = Path.home() / ".ray"
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not (folder / "auth_token").exists() and not os.access(there, os.W_OK):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
