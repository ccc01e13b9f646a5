"""The session of the DAVIS interactive benchmark: corrections and answers in turn, scored and timed.

Caelles et al., "The 2018 DAVIS Challenge on Video Object Segmentation", as in the published code: all frames count,
those with scribbles too; void is background; the next correction goes to the frame of the lowest J&F. What corrects
(the robot, or clicks) and what answers (a runner by a schedule) are arguments.
"""

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from train.evaluation.clicks import Click
from train.evaluation.metrics import Scores, score_masks
from train.evaluation.robot import worst_frame

Given = np.ndarray | Click
"""What the annotator gives: a stroke map ``[H, W]``, or a click."""


class Answer(NamedTuple):
    """The masks after an interaction, uint8 ``[T, H, W]``, and the frames that may be corrected next (None: all)."""

    masks: np.ndarray
    candidates: Collection[int] | None = None


@dataclass(frozen=True)
class Interaction:
    """One correction of a frame (``given`` None: the annotator had none), its masks, their scores, the time taken."""

    number: int
    """From 1."""
    frame: int
    given: Given | None
    masks: np.ndarray
    scores: Scores
    seconds: float


def run_session(
    truth: np.ndarray,
    num_objects: int,
    first: tuple[int, Given | None],
    answer: Callable[[int, Given | None], Answer],
    correct: Callable[[int, np.ndarray], Given | None],
    *,
    interactions: int,
    max_seconds: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
    used: Collection[int] = (),
) -> Iterator[Interaction]:
    """The interactions of one sample, of a video with masks ``truth [T, H, W]`` of the objects 1..``num_objects``.

    ``first``: the first frame and what is given there; ``answer``: the method, told a frame and what is given on it;
    ``correct``: the annotator, told a frame and its masks. ``max_seconds`` is for the whole sample, from its start,
    scoring and annotator included: an answer that comes later does not count and ends it. A frame is corrected again
    once all others were; ``used``: those that count as corrected from the start (the benchmark: none, so the first
    frame may come again at once).
    """
    started = clock()
    corrected = set(used)
    frame, given = first
    for number in range(1, interactions + 1):
        begun = clock()
        if max_seconds is not None and begun - started > max_seconds:
            return
        masks, candidates = answer(frame, given)
        ended = clock()
        if max_seconds is not None and ended - started > max_seconds:
            return
        scores = score_masks(truth, masks, range(1, num_objects + 1))
        yield Interaction(number, frame, given, masks, scores, ended - begun)
        if number < interactions:
            frame = worst_frame(scores, corrected, candidates)
            corrected.add(frame)
            given = correct(frame, masks[frame])
