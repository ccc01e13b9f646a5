"""A worker: owns one Blender process, and answers a run's requests by events, whatever happens."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assets.store import ASSETS, AssetStore
from render.farm.events import Done, Event, Failed, Frames, Sealed, Working
from render.farm.places import STORE_PATIENCE, RemotePlaces, places_at
from render.farm.pool import Render, Request, Seal
from render.farm.process import BLENDER, MISSING_ASSET, BlenderCrashError, BlenderProcess, BlenderUnusableError
from render.farm.sealing import seal_shard
from vosforge.errors import MachineError, VOSForgeError
from vosforge.processes import resident_memory
from vosforge.trouble import attempting
from vosforge.videos import Place

BATCH_SECONDS = 2.0
"""How often a worker tells of its frames: messages cost the driver more than they tell."""


@dataclass(frozen=True)
class Workplace:
    """What every worker of a run is told: where the data set and the assets are, and how Blender is started."""

    dataset: Place
    store: Path | None
    """The folder of the assets; None: the machine's own, filled from the data set's store as needed."""
    threads: int
    device: str
    start: str = BLENDER
    logs: str = "logs"
    """Where in the data set's folder the logs go."""


class Worker:
    """Answers requests one after the other."""

    def __init__(self, place: Workplace, number: int) -> None:
        """Starts nothing yet. ``number``: names the log."""
        desk = f"{place.logs.replace('/', '-')}-{number:03d}"
        self._place, self._places = place, places_at(place.dataset, desk, STORE_PATIENCE)
        log = self._places.root / place.logs / f"blender-{number:03d}.log"
        self._blender = BlenderProcess(log, place.threads, place.device, place.start)
        self._set_up = False

    def answer(self, request: Request) -> Iterator[Event]:
        """Yield Frames, in batches, and an outcome for Render; Sealed or Failed for Seal."""
        try:
            yield from self._render(request) if isinstance(request, Render) else self._seal(request)
        except BlenderCrashError as error:
            if error.trouble == "crash" and not self._places.writable():  # as by a log that could not be written
                yield Failed("storage", f"{self._place.dataset} cannot be written to: free some space. {error}")
            else:
                yield Failed(error.trouble, str(error))
        except VOSForgeError as error:
            yield _failure(error)

    def prove(self) -> None:
        """Start the Blender process, and have it render a tiny frame."""
        for _ in self._blender.run({"do": "prove"}):
            pass

    def memory(self) -> int:
        """Bytes that the Blender process holds."""
        return resident_memory(self._blender.pid)

    def close(self) -> None:
        """End the Blender process now."""
        self._blender.close()

    def _obtain_pinned(self) -> None:
        """Have here, once, what decides the videos of a data set on a store; remove what a killed worker left."""
        if self._set_up or not isinstance(self._places, RemotePlaces):
            return
        with attempting(f"write to {self._places.root}"):
            for folder in (self._places.staging, self._places.shards):
                shutil.rmtree(folder, ignore_errors=True)
        with self._places.writing():
            self._places.obtain(self._places.config)
            self._places.obtain(self._places.catalog)
        self._set_up = True

    def _render(self, request: Render) -> Iterator[Event]:
        self._obtain_pinned()
        job = {
            "do": "video",
            "dataset": str(self._places.root),
            "store": str(self._place.store or AssetStore().root),
            "source": None if isinstance(self._place.dataset, Path) else self._place.dataset / ASSETS,
            "index": request.index,
            "attempt": request.attempt,
            "renderer": request.renderer,
        }
        frames, told = 0, time.monotonic()
        for event in self._blender.run(job):
            if isinstance(event, Working):
                continue
            if isinstance(event, Done):
                self._places.publish(self._places.staged(request.index))
            if not isinstance(event, Frames):
                yield event
                continue
            frames += event.count
            if (now := time.monotonic()) - told >= BATCH_SECONDS:
                yield Frames(frames, self.memory())
                frames, told = 0, now

    def _seal(self, request: Seal) -> Iterator[Event]:
        self._obtain_pinned()
        rows = seal_shard(self._places, request.shard, request.members, request.retried)
        yield Sealed(None if rows is None else tuple(rows))


def _failure(error: VOSForgeError) -> Failed:
    if isinstance(error, BlenderUnusableError):
        return Failed("unusable", str(error))
    if not isinstance(error, MachineError):
        return Failed("content", str(error))
    return Failed("missing asset" if error.why == MISSING_ASSET else "storage", str(error))
