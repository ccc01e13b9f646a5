"""The state changed by a runner's interactions, with exact undo."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mivos_models.networks.memory import Memory
from mivos_models.runner.spill import Probabilities

MOST_STEPS = 50
MOST_UNDO_BYTES = 2**33
"""Of probabilities that only undone steps would show again; they are on disk."""


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
    """The state that interactions change.

    probabilities: as last propagated or given, at the size the networks see; masks: uint8 [T,H,W]; given: the user's
    masks by frame, uint8 [H,W]; certain: the user's frames in the order of interactions; replaced: frames whose mask
    does not follow from their probabilities until the next interaction.
    """

    probabilities: Probabilities
    masks: np.ndarray
    given: dict[int, np.ndarray]
    certain: list[Remembered]
    replaced: set[int]


class _Step:
    """A state before a step; only the masks that the step changes."""

    def __init__(self, state: State) -> None:
        self.probabilities = state.probabilities.copy()
        self.given, self.certain, self.replaced = dict(state.given), list(state.certain), set(state.replaced)
        self.masks: dict[int, bytes] = {}
        self.size = 0


class History:
    """The undo and redo history, exact to the bit.

    Of more than MOST_STEPS, or more than MOST_BYTES of them, the oldest are forgotten, but never the last.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._done: list[_Step] = []
        self._undone: list[_Step] = []
        self._open: _Step | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """The block is one step; if it raises (also when interrupted), nothing has changed."""
        self._open = opened = _Step(self._state)
        try:
            yield
        except BaseException:
            self._swap(opened)
            raise
        finally:
            self._open = None
        opened.size = opened.probabilities.only_here(self._state.probabilities)
        self._done.append(opened)
        self._undone.clear()
        while len(self._done) > 1 and (
            len(self._done) > MOST_STEPS or sum(s.size for s in self._done) > MOST_UNDO_BYTES
        ):
            self._done.pop(0)

    def replace_mask(self, frame: int, mask: np.ndarray) -> None:
        """In a step: give a frame another mask, uint8 [H,W]."""
        assert self._open is not None
        self._hold(frame, self._open)
        self._state.masks[frame] = mask

    def undo(self) -> bool:
        """Undo the last step; False if there is none."""
        return self._move(self._done, self._undone)

    def redo(self) -> bool:
        """Redo the last undone step; False if there is none, or another step was taken since."""
        return self._move(self._undone, self._done)

    def _move(self, source: list[_Step], target: list[_Step]) -> bool:
        if not source:
            return False
        target.append(self._swap(source.pop()))
        return True

    def _hold(self, frame: int, step: _Step) -> None:
        if frame not in step.masks:
            step.masks[frame] = zlib.compress(self._state.masks[frame].tobytes(), 1)

    def _swap(self, step: _Step) -> _Step:
        """Restore what ``step`` holds; returns the state until now as a step."""
        state, now = self._state, _Step(self._state)
        state.probabilities, state.given = step.probabilities, step.given
        state.certain, state.replaced = step.certain, step.replaced
        for frame, packed in step.masks.items():
            self._hold(frame, now)
            state.masks[frame] = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(state.masks.shape[1:])
        now.size = now.probabilities.only_here(state.probabilities)
        return now
