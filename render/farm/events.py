"""What a Blender process, and the actor that owns it, say about a job: small frozen records."""

from dataclasses import dataclass
from typing import Any, Literal

from vosforge.videos import VideoRow

Trouble = Literal["unusable", "storage", "missing asset", "out of memory", "hang", "crash", "killed", "gone", "content"]
"""Why a job failed. ``unusable``: no job can be done here; ``storage``: disk or network were in the way; ``crash``:
Blender ended by itself; ``killed``: somebody else ended it; ``gone``: the worker is, with its machine or alone;
``content``: what the job was to work on cannot be used. The others say what they are."""

KINDS = ("crash", "hang", "out of memory", "missing asset", "content", "refused")
"""The kinds of trouble that quarantine a video: its reason begins with one."""
UNSORTED = "other"
"""The kind of reasons that older versions wrote."""


def kind_of(reason: str | None) -> str:
    """The kind of trouble that a quarantined video's reason begins with."""
    kind, colon, _ = (reason or "").partition(": ")
    return kind if colon and kind in KINDS else UNSORTED


@dataclass(frozen=True, slots=True)
class Ready:
    """The first thing a process says, once jobs can be sent."""


@dataclass(frozen=True, slots=True)
class Frames:
    """So many more frames are rendered."""

    count: int = 1
    memory: int = 0
    """Bytes that the worker holds, its Blender process included; 0: unknown."""


@dataclass(frozen=True, slots=True)
class Working:
    """A process began with something that takes a while, and is well."""

    on: str
    """In a word or two, the same for all videos: what it took before tells when it hangs."""


@dataclass(frozen=True, slots=True)
class Done:
    """The job is done."""

    result: Any = None
    renderer: str = ""
    """Of a rendered video, for example "Blender 5.0.1 Cycles CPU"."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """The video was rendered, and its frames or labels fail the checks."""

    reason: str
    kind: str = ""
    """As in `vosforge.videos.gates.Refusal`."""
    modules: tuple[str, ...] = ()
    """The modules of its scene that may be why."""

    @property
    def counted_as(self) -> str:
        """The kind and the modules that may be why: "hidden (occluders, paths)"."""
        return f"{self.kind or 'other'} ({', '.join(self.modules)})" if self.modules else self.kind or "other"


@dataclass(frozen=True, slots=True)
class Failed:
    """The job failed, said in one sentence."""

    trouble: Trouble
    sentence: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """A shard is sealed."""

    rows: tuple[VideoRow, ...] | None
    """Its rows; empty if it stayed as it was, None if it waits for more videos."""


Outcome = Done | Refused | Failed
"""The last event of a job."""
Event = Ready | Working | Frames | Outcome | Sealed
