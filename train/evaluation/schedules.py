"""When an interactive method propagates: MiVOS's schedule, or after each interaction."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from mivos_models import InteractiveRunner
from train.evaluation.clicks import Click
from train.evaluation.session import Answer, Given


@dataclass(frozen=True)
class Schedule:
    """The interactions (from 1) after which masks are propagated; None: after each."""

    name: str
    propagating: tuple[int, ...] | None

    @property
    def max_interactions(self) -> int | None:
        """The last interaction that it plans for."""
        return None if self.propagating is None else self.propagating[-1]


MIVOS = Schedule("mivos", (3, 6, 8))
"""MiVOS's own: three, three and two interactions on one frame each; only the last of each is propagated."""
EVERY = Schedule("every", None)
SCHEDULES = MappingProxyType({schedule.name: schedule for schedule in (MIVOS, EVERY)})


class ScheduledRunner:
    """A runner that answers a session's interactions by a schedule.

    Until it propagates, only the frame's mask is corrected, and only that frame may be corrected next. Without
    anything given the masks stay as they are, except that a scheduled propagation of earlier corrections takes place.
    """

    def __init__(self, start: Callable[[], InteractiveRunner], schedule: Schedule) -> None:
        """``start`` makes the runner in the first interaction, so that its set-up counts in the time that takes."""
        self._start, self._schedule = start, schedule
        self._runner: InteractiveRunner | None = None
        self._corrected: tuple[int, np.ndarray] | None = None
        """The frame and mask that are not propagated yet."""
        self._number = 0

    def __call__(self, frame: int, given: Given | None) -> Answer:
        """The masks after what is ``given`` on ``frame``: a stroke map, or a click."""
        self._number += 1
        if self._runner is None:
            self._runner = self._start()
        if isinstance(given, Click):
            self._corrected = frame, self._runner.click(frame, given.x, given.y, given.label)
        elif given is not None:
            self._corrected = frame, self._runner.scribble(frame, given)
        if self._schedule.propagating is not None and self._number not in self._schedule.propagating:
            return Answer(self._runner.masks, (frame,))
        if self._corrected is None:
            return Answer(self._runner.masks)
        masks = self._runner.interact(*self._corrected)
        self._corrected = None
        return Answer(masks)
