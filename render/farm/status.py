"""How far a data set is: what is done, as its files say, and what its runs do, as they said last."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from render.farm.events import kind_of
from render.farm.jobs import begun_with
from render.farm.ledger import shard_numbers
from render.farm.pausing import is_paused
from render.farm.places import NOTE, noted_reason
from render.farm.runlog import Moment, Run, runs_at
from vosforge.errors import InputError, MachineError
from vosforge.videos import Place, VideoRow, read_manifest
from vosforge.videos.cache import local_copy
from vosforge.videos.format import shard_name
from vosforge.videos.reader import shard_rows

SPANS, MIN_SPAN = 6, 60.0
"""A run's recent speed is taken over so many spans of its history, each of so many seconds at least."""
State = Literal["finished", "incomplete", "quarantined", "running"]
EXIT_CODES: dict[State, int] = {"finished": 0, "incomplete": 1, "quarantined": 3, "running": 4}
"""What ``vosforge status`` exits with; 2 is wrong usage."""


@dataclass(frozen=True)
class Span:
    """An expected value and its range; ``high`` is None where it is unknown."""

    expected: float
    low: float
    high: float | None


@dataclass(frozen=True)
class Rate:
    """How fast a run was over its last ``seconds``: videos and frames an hour; frames also in its spans."""

    seconds: float
    videos: float
    frames: float
    slowest: float
    fastest: float


@dataclass(frozen=True)
class Status:
    """A data set's videos, and its runs."""

    videos: int
    done: int
    quarantined: dict[str, int]
    """By kind of trouble."""
    shards: int
    sealed: int
    """Shards that are sealed and wait for no video that is rendered again."""
    runs: tuple[Run, ...]
    paused: bool = False
    """Whether its runs hand out no new videos."""

    @property
    def missing(self) -> int:
        """Videos that are neither done nor quarantined; some of them may be in work."""
        return self.videos - self.done - sum(self.quarantined.values())

    @property
    def alive(self) -> list[Run]:
        """The runs that are under way."""
        return [run for run in self.runs if run.alive]

    @property
    def running(self) -> int:
        """Videos that are being rendered."""
        return sum(worker.video is not None for run in self.alive for worker in run.now.workers)

    @property
    def state(self) -> State:
        """In one word."""
        if self.alive:
            return "running"
        if self.missing or self.sealed < self.shards:
            return "incomplete"
        return "quarantined" if self.quarantined else "finished"


def read_status(root: Place) -> Status:
    """The status of the data set in the folder ``root``. Raises InputError where there is none."""
    config = begun_with(root)
    if config is None:
        raise InputError(f"{root} has no dataset.yaml: name a data set that 'vosforge render' started")
    rows = _rows(root)
    staged = {int(path.stem) for path in (root / "staging").glob("*.h5") if path.stem.isdecimal()}
    done = {int(row.id) for row in rows if row.state == "sealed"} | staged
    kinds = {int(row.id): kind_of(row.reason) for row in rows if row.state == "quarantined"}
    for note in (root / "staging").glob(f"*{NOTE}"):
        if (name := note.name.removesuffix(NOTE)).isdecimal() and (kind := _noted(note)):
            kinds[int(name)] = kind
    counts = Counter(kind for index, kind in kinds.items() if index not in done)
    waiting = {shard_name(index // config.videos_per_shard) for index in staged}
    sealed = len({row.shard for row in rows} - waiting)
    shards = len(shard_numbers(config))
    quarantined = dict(counts.most_common())
    return Status(config.videos, len(done), quarantined, shards, sealed, runs_at(root), is_paused(root))


def _rows(root: Place) -> list[VideoRow]:
    """The rows of all sealed shards: the manifest's, and those of shards that it lacks."""
    shards = {path.name: path for path in (root / "shards").glob("shard-*.h5")}
    try:
        told = read_manifest(root) if shards else ()
    except MachineError:
        raise
    except InputError:  # it is not there, or a run is writing to it: the shards themselves are the truth
        told = ()
    known = {row.shard for row in told}
    rows = [row for row in told if row.shard in shards]
    return rows + [row for name in sorted(shards.keys() - known) for row in shard_rows(shards[name])]


def _noted(note: Place) -> str | None:
    """The kind of trouble in a note; None if it went into a shard meanwhile."""
    try:
        return kind_of(noted_reason(local_copy(note)))
    except (FileNotFoundError, InputError):
        return None


def rate_of(history: Sequence[Moment]) -> Rate | None:
    """How fast a run was over its history, from its first frames on; None while there are too few."""
    begun = next((i for i, moment in enumerate(history) if moment.frames), 0)
    recent = history[max(0, begun - 1) :]
    if not recent or (seconds := recent[-1].seconds - recent[0].seconds) <= 0 or recent[-1].frames == recent[0].frames:
        return None
    ends = [recent[0]]
    for moment in recent[1:]:
        if moment.seconds - ends[-1].seconds >= max(seconds / SPANS, MIN_SPAN):
            ends.append(moment)
    frames = 3600 * (recent[-1].frames - recent[0].frames) / seconds
    speeds = [3600 * (b.frames - a.frames) / (b.seconds - a.seconds) for a, b in pairwise(ends)]
    return Rate(
        seconds=seconds,
        videos=3600 * (recent[-1].videos - recent[0].videos) / seconds,
        frames=frames,
        slowest=min([frames, *speeds]),
        fastest=max([frames, *speeds]),
    )


def seconds_left(runs: Sequence[Run]) -> Span | None:
    """Seconds until the last of ``runs`` ends, at its recent speed; the range is at its slowest and its fastest.

    None while one of them has rendered too little to tell.
    """
    spans = []
    for run in runs:
        rate = rate_of(run.now.history)
        if rate is None:
            return None
        frames = 3600 * run.now.frames_left
        high = frames / rate.slowest if rate.slowest else None
        spans.append(Span(frames / rate.frames, frames / rate.fastest, high))
    if not spans:
        return None
    highs = [span.high for span in spans if span.high is not None]
    return Span(
        max(span.expected for span in spans),
        max(span.low for span in spans),
        max(highs) if len(highs) == len(spans) else None,
    )
