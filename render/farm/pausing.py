"""Pausing the runs that work on a data set: a file beside its settings, ``PAUSED``, which they look for now and then.

A paused run finishes the videos in work and hands out no new ones until the file is removed.
"""

import platform
import time
from datetime import UTC, datetime

from render.farm.places import is_begun, places_at
from render.farm.runlog import RunLog
from vosforge.errors import InputError, MachineError
from vosforge.files import write_sealed
from vosforge.log import logger
from vosforge.trouble import attempting
from vosforge.videos import Place

MARKER = "PAUSED"
PERIOD = 3.0
"""Seconds between two looks of a run."""


def is_paused(root: Place) -> bool:
    """Whether the data set at ``root`` is paused."""
    return (root / MARKER).exists()


def pause(root: Place) -> bool:
    """Pause the data set at ``root``; False if it is paused already. Raises InputError if there is none."""
    _check(root)
    if is_paused(root):
        return False
    when = datetime.now(UTC).isoformat(timespec="seconds")
    places = places_at(root, "pausing")
    marker = places.root / MARKER
    with attempting(f"write to {places.root}"):
        write_sealed(marker, f"paused {when} from {platform.node()}; to continue: vosforge resume {root}\n")
    places.publish(marker)
    return True


def resume(root: Place) -> bool:
    """Undo `pause`; False if the data set is not paused. Raises InputError if there is none."""
    _check(root)
    if not is_paused(root):
        return False
    places = places_at(root, "pausing")
    with attempting(f"write to {root}"):
        places.remove(places.root / MARKER)
    return True


def _check(root: Place) -> None:
    if not is_begun(root):
        raise InputError(f"{root} has no dataset.yaml: name a data set that 'vosforge render' started")


class Pause:
    """A run's look at the marker, at most every `PERIOD` seconds. Says when its answer changes."""

    def __init__(self, root: Place, log: RunLog) -> None:
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
        """A folder or store that is not there for now, as during its maintenance, changes nothing."""
        try:
            return is_paused(self._root) or (self._paused and not is_begun(self._root))
        except (OSError, MachineError):
            return self._paused
