"""A cache of frame queries for revisited frames."""

from mivos_models.networks.spacetime import Query
from mivos_models.runner.spill import Spill, Spilled

MEMORY_BYTES = 2**30
DISK_BYTES = 2**32
"""In addition to memory, on CPUs only: reading a query from disk is much cheaper than computing it again."""


class Queries:
    """Queries of the first frames: some in memory, more on disk, the rest not cached.

    Passes visit frames in order, so evicting one for another never pays.
    """

    def __init__(self) -> None:
        self._held: dict[int, Query] = {}
        self._on_disk: dict[int, list[Spilled]] = {}
        self._spill = Spill()
        self._room = [MEMORY_BYTES, DISK_BYTES]

    def get(self, frame: int) -> Query | None:
        """The frame's query, if cached."""
        if frame in self._on_disk:
            return Query(*(part.read().permute(0, 3, 1, 2) for part in self._on_disk[frame]))
        return self._held.get(frame)

    def keep(self, frame: int, query: Query) -> None:
        """Cache the frame's query, if there is space."""
        size = sum(part.nbytes for part in query)
        if size <= self._room[0]:
            self._room[0] -= size
            self._held[frame] = query
        elif size <= self._room[1] and query.key.device.type == "cpu":
            self._room[1] -= size
            # Channels last, as in memory.
            self._on_disk[frame] = [self._spill.put(part.permute(0, 2, 3, 1)) for part in query]
