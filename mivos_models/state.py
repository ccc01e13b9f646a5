"""What a runner's interactions change, and how each change is taken back to the bit."""

import math
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mivos_models.memory import Memory

MOST_STEPS = 50
MOST_BYTES = 2**33
"""On disk: probabilities hardly pack, and are more than one likes to hold twice in memory."""


@dataclass
class Remembered:
    """A frame the user has given, in memory for good.

    given: the objects' masks as the networks see them, float32 [K,h,w]; memory: what was memorised of them.
    """

    frame: int
    given: Tensor
    memory: Memory


@dataclass
class State:
    """What interactions change.

    probabilities: float32 [K+1,T,h,w], as last propagated or given, at the size the networks see; masks: uint8
    [T,H,W]; given: the user's masks by frame, uint8 [H,W]; certain: the user's frames in the order of interactions.
    """

    probabilities: Tensor
    masks: np.ndarray
    given: dict[int, np.ndarray]
    certain: list[Remembered]


class _Step:
    """What some frames, and all of the rest, were like before a step."""

    def __init__(self, state: State) -> None:
        self.channels = len(state.probabilities)
        self.given, self.certain = dict(state.given), list(state.certain)
        self.masks: dict[int, bytes] = {}
        self._places: dict[int, int] = {}
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the step, and has no name
        self.size = 0

    @property
    def frames(self) -> list[int]:
        """Those whose probabilities it holds."""
        return list(self._places)

    def hold(self, frame: int, probabilities: Tensor) -> None:
        """Write down a frame's probabilities, float32 [C,h,w]."""
        if frame not in self._places:
            place = self._file.seek(self.size)
            self.size += self._file.write(probabilities.contiguous().numpy().data)
            self._places[frame] = place

    def held(self, frame: int, size: tuple[int, ...]) -> Tensor:
        """What was written down of it; ``size``: its h and w."""
        self._file.seek(self._places[frame])
        count = self.channels * math.prod(size)
        return torch.from_numpy(np.fromfile(self._file, np.float32, count).reshape(-1, *size))


class History:
    """The steps that can be undone and redone, to the bit.

    Of more than MOST_STEPS, or more than MOST_BYTES of them, the oldest are forgotten, but never the last.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._done: list[_Step] = []
        self._undone: list[_Step] = []
        self._open: _Step | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """All that happens inside is one step; what raises there (an interruption, too) has changed nothing."""
        self._open = _Step(self._state)
        try:
            yield
        except BaseException:
            self._swap(self._open)
            raise
        finally:
            opened, self._open = self._open, None
        self._done.append(opened)
        self._undone.clear()
        while len(self._done) > 1 and (len(self._done) > MOST_STEPS or sum(s.size for s in self._done) > MOST_BYTES):
            self._done.pop(0)

    def keep_mask(self, frame: int) -> None:
        """To be called in a step before a frame's mask changes."""
        assert self._open is not None
        if frame not in self._open.masks:
            self._open.masks[frame] = zlib.compress(self._state.masks[frame].tobytes(), 1)

    def keep_probabilities(self, frame: int) -> None:
        """To be called in a step before a frame's probabilities change."""
        assert self._open is not None
        self._open.hold(frame, self._state.probabilities[: self._open.channels, frame])

    def undo(self) -> bool:
        """Take the last step back; False if there is none."""
        return self._move(self._done, self._undone)

    def redo(self) -> bool:
        """Take the last undone step again; False if there is none, or another step was taken since."""
        return self._move(self._undone, self._done)

    def _move(self, source: list[_Step], target: list[_Step]) -> bool:
        if not source:
            return False
        target.append(self._swap(source.pop()))
        return True

    @torch.inference_mode()
    def _swap(self, step: _Step) -> _Step:
        """Make all that ``step`` holds as it was; what it was until now."""
        state = self._state
        self._open = now = _Step(state)
        for frame in step.masks:
            self.keep_mask(frame)
        for frame in step.frames:
            self.keep_probabilities(frame)
        self._open = None
        state.given, state.certain = step.given, step.certain
        state.probabilities = with_channels(state.probabilities, step.channels)
        for frame, packed in step.masks.items():
            state.masks[frame] = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(state.masks.shape[1:])
        for frame in step.frames:
            state.probabilities[: step.channels, frame] = step.held(frame, state.probabilities.shape[2:])
        return now


def with_channels(probabilities: Tensor, channels: int) -> Tensor:
    """[C,...] with as many channels: without the last ones, or with new ones of zeros."""
    missing = channels - len(probabilities)
    if missing <= 0:
        return probabilities[:channels]
    return torch.cat([probabilities, probabilities.new_zeros(missing, *probabilities.shape[1:])])
