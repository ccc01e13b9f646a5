"""Functions compiled by numba, with their cache in a folder of ours or none.

Import numba only from here: it reads its cache folder on import. Without a writable folder, each process compiles what
it needs, which takes seconds.
"""

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

from vosforge.extras import extra
from vosforge.files import cache_dir

NEEDED_BYTES = 64 * 2**20
"""With less free space than this the cache is off: a failed write to it would end the process."""


def cache_folder() -> Path | None:
    """The folder of numba's cache ($NUMBA_CACHE_DIR, else ours), created as needed; None if it is not writable."""
    try:
        folder = Path(os.environ.get("NUMBA_CACHE_DIR") or cache_dir() / "numba")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        return folder if shutil.disk_usage(folder).free >= NEEDED_BYTES else None
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None


_folder = cache_folder()
if _folder is not None:
    os.environ["NUMBA_CACHE_DIR"] = str(_folder)

with extra("jpeg", "rendering and JPEG compression need numba"):
    import numba

compiled = partial(numba.njit, cache=_folder is not None, error_model="numpy")
"""Decorator of compiled functions; division by zero behaves as in numpy."""
