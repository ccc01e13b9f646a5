"""Functions compiled by numba, and where it keeps what it compiled: a folder of ours, or nowhere.

Import numba from here only: it reads where its cache is when it is imported. Where no folder can be written to, each
process compiles what it needs, which takes seconds.
"""

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

from vosforge.files import cache_dir

NEEDED_BYTES = 64 * 2**20
"""With less room than this on its disk there is no cache: one that cannot be written to ends what uses it."""


def cache_folder() -> Path | None:
    """The folder of numba's cache ($NUMBA_CACHE_DIR, else ours), made as needed; None where it cannot be written to."""
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

import numba  # noqa: E402

compiled = partial(numba.njit, cache=_folder is not None, error_model="numpy")
"""Decorates what is to be compiled; it divides by zero as numpy does."""
