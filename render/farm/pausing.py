"""Pausing the runs that work on a data set: a file in its folder, ``PAUSED``, which they look for now and then.

A paused run finishes the videos in work and hands out no new ones until the file is removed.
"""

import platform
import time
from datetime import UTC, datetime
from pathlib import Path

from render.farm.runlog import RunLog
from render.farm.sealing import Places
from vosforge.errors import InputError
from vosforge.files import remove_sealed, write_sealed
from vosforge.log import logger
from vosforge.trouble import attempting
from vosforge.videos import Place

MARKER = "PAUSED"
PERIOD = 3.0
"""Seconds between two looks of a run."""


def is_paused(root: Place) -> bool:
    """Whether the data set in the folder ``root`` is paused."""
    return (root / MARKER).exists()


def pause(root: Path) -> bool:
    """Pause the data set in the folder ``root``; False if it is paused already. Raises InputError if there is none."""
    _check(root)
    if is_paused(root):
        return False
    when = datetime.now(UTC).isoformat(timespec="seconds")
    with attempting(f"write to {root}"):
        write_sealed(root / MARKER, f"paused {when} from {platform.node()}; to continue: vosforge resume {root}\n")
    return True


def resume(root: Path) -> bool:
    """Undo `pause`; False if the data set is not paused. Raises InputError if there is none."""
    _check(root)
    if not is_paused(root):
        return False
    with attempting(f"write to {root}"):
        remove_sealed(root / MARKER)
    return True


def _check(root: Path) -> None:
    if not Places(root).config.exists():
        raise InputError(f"{root} has no dataset.yaml: name a folder that 'vosforge render' started")


class Pause:
    """A run's look at the marker, at most every `PERIOD` seconds. Says when its answer changes."""

    def __init__(self, root: Path, log: RunLog) -> None:
        self._root, self._log = root, log
        self._paused, self._looked = False, float("-inf")

    def on(self) -> bool:
        """Whether the run is paused."""
        now = time.monotonic()
        if now - self._looked >= PERIOD:
            before, self._paused, self._looked = self._paused, self._look(), now
            if self._paused and not before:
                logger.warning(
                    "%s is paused, no new videos start: 'vosforge resume %s' continues", self._root, self._root
                )
                self._log.note("paused")
            elif before and not self._paused:
                logger.info("%s continues", self._root)
                self._log.note("resumed")
        return self._paused

    def _look(self) -> bool:
        """A folder that is not there for now, as during its maintenance, changes nothing."""
        try:
            return is_paused(self._root) or (self._paused and not Places(self._root).config.exists())
        except OSError:
            return self._paused
