"""What a run asks of its workers, and of the pool that holds them: Ray's actors, or threads."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from render.farm.events import Event


@dataclass(frozen=True, slots=True)
class Render:
    """Asks a worker for video ``index``, which was refused ``attempt`` times."""

    index: int
    attempt: int = 0
    renderer: str | None = None
    """What the data set is rendered with so far."""


@dataclass(frozen=True, slots=True)
class Seal:
    """Asks a worker to seal a shard, as `render.farm.sealing.seal_shard` does."""

    shard: int
    members: range
    retried: tuple[int, ...] = ()


Request = Render | Seal


class Pool(Protocol):
    """Workers, by number. Each answers its requests one after the other."""

    size: int
    """How many workers it has room for."""

    def start(self) -> int:
        """Start a worker, and return its number; it says Ready, for no request, when it can be asked."""

    def stop(self, worker: int) -> None:
        """End a worker: it says nothing more."""

    def node(self, worker: int) -> str:
        """The machine of a worker that said Ready."""

    def submit(self, worker: int, request: Request) -> None:
        """Send a request: Render is answered by Frames and an outcome, Seal by Sealed or Failed."""

    def events(self, seconds: float) -> Iterable[tuple[int, Request | None, Event]]:
        """What the workers said by now; waits for the first of it, so many seconds at most.

        A worker that is gone says Failed("gone") for each of its requests, or for none if it was never ready.
        """
