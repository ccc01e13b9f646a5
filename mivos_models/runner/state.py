"""The state changed by a runner's interactions, with exact undo."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mivos_models.networks.memory import Memory
from mivos_models.runner.spill import Masks, Probabilities, Spill, Spilled

MAX_STEPS = 50
MAX_UNDO_BYTES = 2**33
"""Maximum disk space of what only undo and redo need."""
_PACKED_IN = 1024
"""Packed masks are padded to multiples of this size, so that freed space is reused."""


@dataclass
class Remembered:
    """A frame annotated by the user, kept in memory permanently.

    given: the objects' masks at the networks' size, float32 [K,h,w]; memory: their encoding.
    """

    frame: int
    given: Tensor
    memory: Memory


@dataclass
class State:
    """The state that interactions change.

    probabilities: last propagated or given, at the networks' size; masks: of all frames; given: the user's masks by
    frame, uint8 [H,W]; certain: the user's frames in the order of interactions; replaced: frames whose mask overrides
    their probabilities until the next interaction.
    """

    probabilities: Probabilities
    masks: Masks
    given: dict[int, np.ndarray]
    certain: list[Remembered]
    replaced: set[int]


class _Step:
    """The state before a step; of masks only those that the step changes."""

    def __init__(self, state: State) -> None:
        self.probabilities = state.probabilities.copy()
        self.given, self.certain, self.replaced = dict(state.given), list(state.certain), set(state.replaced)
        self.masks: dict[int, Spilled] = {}
        self.size = 0

    def measure(self, other: Probabilities) -> None:
        """Set the size in bytes: of the masks, and of the probabilities that ``other`` does not share."""
        masks = sum(packed.nbytes for packed in self.masks.values())
        self.size = self.probabilities.only_here(other) + masks


class History:
    """The bit-exact undo and redo history.

    Beyond MAX_STEPS steps or MAX_UNDO_BYTES bytes, the oldest steps are dropped, but never the last one.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._spill = Spill()
        self._done: list[_Step] = []
        self._undone: list[_Step] = []
        self._open: _Step | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """Run a block as one step; an exception or interrupt restores the state."""
        self._open = opened = _Step(self._state)
        try:
            yield
        except BaseException:
            self._swap(opened)
            raise
        finally:
            self._open = None
        opened.measure(self._state.probabilities)
        self._done.append(opened)
        self._undone.clear()
        while len(self._done) > 1 and (len(self._done) > MAX_STEPS or sum(s.size for s in self._done) > MAX_UNDO_BYTES):
            self._done.pop(0)

    def replace_mask(self, frame: int, mask: np.ndarray) -> None:
        """Within a step, replace a frame's mask, uint8 [H,W]."""
        assert self._open is not None
        self._hold(frame, self._open)
        self._state.masks[frame] = mask

    def undo(self) -> bool:
        """Undo the last step; False if there is none."""
        return self._move(self._done, self._undone)

    def redo(self) -> bool:
        """Redo the last undone step; False if there is none or a new step followed."""
        return self._move(self._undone, self._done)

    def _move(self, source: list[_Step], target: list[_Step]) -> bool:
        if not source:
            return False
        target.append(self._swap(source.pop()))
        return True

    def _hold(self, frame: int, step: _Step) -> None:
        if frame not in step.masks:
            packed = bytearray(zlib.compress(self._state.masks[frame].tobytes(), 1))
            packed.extend(bytes(-len(packed) % _PACKED_IN))
            step.masks[frame] = self._spill.put(torch.frombuffer(packed, dtype=torch.uint8))

    def _swap(self, step: _Step) -> _Step:
        """Restore ``step``; returns the current state as a step."""
        state, now = self._state, _Step(self._state)
        state.probabilities, state.given = step.probabilities, step.given
        state.certain, state.replaced = step.certain, step.replaced
        for frame, spilled in step.masks.items():
            self._hold(frame, now)
            packed = spilled.read().numpy().tobytes()
            mask = zlib.decompressobj().decompress(packed)  # ignores the padding
            state.masks[frame] = np.frombuffer(mask, np.uint8).reshape(state.masks.shape[1:])
        now.measure(state.probabilities)
        return now
