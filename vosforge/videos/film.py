"""Films as frames: MP4, MOV, MKV and WebM, decoded one frame at a time on demand. Reading only.

Every coded frame counts, in the order of presentation, whatever the time between two of them; phones' rotation is
applied, more than 8 bits become 8.
"""

import gc
import io
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakSet

import av
import numpy as np
from av.stream import Disposition

from vosforge import InputError
from vosforge.videos.codec import MAX_PIXELS, Region

FILM_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
_VP8_SHOWN = 0x10


def is_film(name: str) -> bool:
    """Whether a file name is that of a film, and not hidden like macOS's ``._clip.mp4``."""
    return not name.startswith(".") and Path(name).suffix.lower() in FILM_SUFFIXES


@dataclass(eq=False)
class _Reading:
    """A film being decoded in one process: its frame iterator and the next index."""

    process: int
    container: Any
    decoded: Iterator[Any]
    place: int

    def __post_init__(self) -> None:
        _READINGS.add(self)


_READINGS: WeakSet[_Reading] = WeakSet()
_OF_PARENT: list[_Reading] = []
"""What a forked process never frees."""


def _keep_decoders() -> None:
    """Never free the parent's decoders in a forked process.

    FFmpeg would wait without end for their threads, which a fork leaves behind. PyAV's containers and streams refer to
    one another, so that those no longer used are garbage: it is left alone too.
    """
    _OF_PARENT.extend(_READINGS)
    gc.freeze()


os.register_at_fork(after_in_child=_keep_decoders)


class Film:
    """The frames of one film. Opened lazily in each process, so it may be pickled and forked."""

    def __init__(self, source: Path | bytes, place: str = "") -> None:
        """``source``: the file or its content; ``place``: how messages call it.

        Reads the whole file but decodes only the first frame. InputError if it is not a film or truncated.
        """
        self.source, self.place = source, place or str(source)
        self._reading: _Reading | None = None
        self._last: tuple[int, np.ndarray] | None = None
        try:
            with self._opened() as container:
                stream = self._stream(container)
                self._pts, self._keys = self._listed(container, stream)
                self._unit, announced = stream.time_base, stream.frames
        except (av.FFmpegError, OSError, ValueError, IndexError):
            raise InputError(f"cannot read the film {self.place}: it is damaged, truncated or not a film") from None
        if not self._pts:
            raise InputError(f"the film {self.place} holds no frames: convert it again from where it came from")
        if len(self._pts) < announced - 1:  # one may be meant for the time before the film begins
            there = f"{len(self._pts)} of its {announced} frames are present"
            raise InputError(f"the film {self.place} is truncated, {there}: copy it again")
        self.height, self.width = self.frame(0).shape[:2]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reading": None, "_last": None}

    def __len__(self) -> int:
        return len(self._pts)

    @property
    def times(self) -> list[float]:
        """When each frame is shown: seconds from the first one, to the microsecond."""
        return [round(float((pts - self._pts[0]) * self._unit), 6) for pts in self._pts]

    def frame(self, t: int, region: Region | None = None) -> np.ndarray:
        """Frame ``t``, or a region of it: ``[H, W, 3]`` uint8 RGB; InputError if it does not decode."""
        if self._last is None or self._last[0] != t:
            self._last = t, self._decoded(t)
        picture = self._last[1]
        if region is not None:
            picture = picture[region.top : region.bottom, region.left : region.right]
        return picture.copy()

    def _decoded(self, t: int) -> np.ndarray:
        try:
            # What a seek skipped, or began too late, is decoded from the film's beginning.
            frame = self._find(t) or self._find(t, from_start=True)
            if frame is None or frame.is_corrupt or frame.width * frame.height > MAX_PIXELS:
                raise self._undecodable(t)
            picture = _upright(frame)
        except (av.FFmpegError, OSError, ValueError):
            self._reading = None
            raise self._undecodable(t) from None
        if t and picture.shape[:2] != (self.height, self.width):
            raise InputError(f"frame {t} of {self.place} has another size than the first: convert the film to one size")
        return picture

    def _undecodable(self, t: int) -> InputError:
        return InputError(f"frame {t} of the film {self.place} does not decode: the film is damaged; copy it again")

    def _find(self, t: int, from_start: bool = False) -> Any:
        """The decoded frame ``t``, or None if decoding from here does not reach it."""
        reading = self._reading
        key = bisect_right(self._keys, self._pts[t]) - 1
        if (
            from_start
            or reading is None
            or reading.process != os.getpid()
            or t < reading.place
            or (key >= 0 and self._keys[key] > self._pts[min(reading.place, len(self) - 1)])
        ):
            reading = self._reading = self._begin(0 if from_start or key < 0 else self._keys[key])
        for frame in reading.decoded:
            place = max(reading.place, bisect_left(self._pts, frame.pts if frame.pts is not None else -1))
            if place >= len(self) or self._pts[place] != frame.pts:
                continue
            reading.place = place + 1
            if place >= t:
                return frame if place == t else None
        return None

    def _begin(self, pts: int) -> _Reading:
        """Begin decoding at the key frame that is shown at ``pts``."""
        if self._reading is not None and self._reading.process == os.getpid():
            self._reading.container.close()
        container = self._opened()
        stream = self._stream(container)
        stream.thread_type = "AUTO"
        if pts > self._pts[0]:
            with suppress(av.FFmpegError):  # a file without an index is decoded from its beginning
                container.seek(pts, stream=stream)
        return _Reading(os.getpid(), container, container.decode(stream), 0)

    def _opened(self) -> Any:
        return av.open(io.BytesIO(self.source) if isinstance(self.source, bytes) else str(self.source))

    def _stream(self, container: Any) -> Any:
        """The video stream of a file: neither its cover image nor its sound."""
        films = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if not films:
            held = ", ".join(stream.type for stream in container.streams) or "nothing"
            raise InputError(f"the film {self.place} has no pictures (it holds {held}): name another")
        return films[0]

    def _listed(self, container: Any, stream: Any) -> tuple[list[int], list[int]]:
        """Presentation times of all frames, ascending, and of key frames, in the stream's unit."""
        shown, keys = [], []
        for packet in container.demux(stream):
            if not packet.size or packet.is_discard:
                continue
            if stream.codec_context.name == "vp8" and not bytes(packet)[0] & _VP8_SHOWN:
                continue  # never shown: later frames are predicted from it
            if packet.pts is None:
                raise InputError(f"the film {self.place} has frames without time stamps: convert it to MP4")
            shown.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
        return sorted(shown), sorted(keys)


def _upright(frame: Any) -> np.ndarray:
    """A decoded frame as uint8 ``[H, W, 3]`` RGB, turned and mirrored as the film says.

    Its display matrix says that the pixel (x, y) is shown at (a x + c y, b x + d y).
    """
    # One thread: a forked process that frees what this converts with would wait without end for others.
    picture = frame.to_ndarray(format="rgb24", threads=1)
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is not None:
        a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5]
        across, down = a, d
        if abs(b) > abs(a):
            picture = picture.transpose(1, 0, 2)
            across, down = c, b
        picture = picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
    return np.ascontiguousarray(picture)
