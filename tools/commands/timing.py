"""How long results took to make, in ``timing.json`` beside the masks."""

import json
import platform
from collections.abc import Collection
from pathlib import Path

from pydantic import Field

from vosforge.config import Record
from vosforge.errors import InputError
from vosforge.files import write_sealed

TIMING = "timing.json"


class VideoTiming(Record):
    """Frames of a video, and the seconds that segmenting it took."""

    frames: int
    seconds: float


class Timing(Record):
    """What ``timing.json`` holds; ``basis``: a fingerprint of networks and settings, for results of a set."""

    basis: str = ""
    machine: str = platform.processor() or platform.machine()
    device: str = "cpu"
    videos: dict[str, VideoTiming] = Field(default_factory=dict)

    def with_video(self, video: str, frames: int, seconds: float) -> "Timing":
        """A copy that records one more video."""
        timed = {**self.videos, video: VideoTiming(frames=frames, seconds=round(seconds, 3))}
        return self.model_copy(update={"videos": timed})

    def frames_per_second(self, videos: Collection[str]) -> float | None:
        """The mean over ``videos``, None unless all are recorded."""
        timed = [self.videos[video] for video in videos if video in self.videos]
        seconds = sum(each.seconds for each in timed)
        return sum(each.frames for each in timed) / seconds if len(timed) == len(videos) and seconds > 0 else None


def read_timing(folder: Path) -> Timing | None:
    """The timing of a results folder, None if it has none."""
    path = folder / TIMING
    if not path.is_file():
        return None
    try:
        return Timing.model_validate(json.loads(path.read_text()))
    except ValueError:
        raise InputError(f"{path} is damaged: remove it, or segment again") from None


def write_timing(folder: Path, timing: Timing) -> None:
    """Write ``timing`` beside the masks in ``folder``."""
    write_sealed(folder / TIMING, timing.model_dump_json(indent=2) + "\n")
