"""The session of the interactive benchmark, with a stand-in method, a stand-in annotator and a fake clock."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pytest

from train.evaluation.clicks import Click
from train.evaluation.schedules import EVERY, MIVOS, Schedule, ScheduledRunner
from train.evaluation.session import Answer, Interaction, run_session


class Clock:
    """Time passes only where something says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def squares(T: int = 4) -> np.ndarray:
    truth = np.zeros((T, 20, 20), np.uint8)
    truth[:, 4:14, 4:14] = 1
    return truth


class Method:
    """Answers with given masks, taking its time; notes what it is asked."""

    def __init__(self, clock: Clock, masks: np.ndarray, seconds: float = 5.0) -> None:
        self.clock, self.masks, self.seconds = clock, masks, seconds
        self.candidates: Collection[int] | None = None
        self.asked: list[tuple[int, Any]] = []

    def __call__(self, frame: int, given: Any) -> Answer:
        self.asked.append((frame, given))
        self.clock.now += self.seconds
        return Answer(self.masks.copy(), self.candidates)


def session(method: Method, **options: Any) -> list[Interaction]:
    def correct(frame: int, mask: np.ndarray) -> Click | None:
        assert mask.shape == (20, 20)
        method.clock.now += 1.0  # the annotator takes its time, too
        return Click(frame, 0, 1)

    first = (2, Click(0, 0, 1))
    return list(run_session(squares(), 1, first, method, correct, clock=method.clock, **options))


def partly(*missing_rows: int) -> np.ndarray:
    """Masks of frame t without that many rows of the square."""
    masks = squares(len(missing_rows))
    for t, rows in enumerate(missing_rows):
        masks[t, 4 : 4 + rows] = 0
    return masks


def test_the_worst_frame_is_corrected_and_the_first_may_come_again() -> None:
    method = Method(Clock(), partly(3, 1, 9, 5))
    done = session(method, interactions=6)
    assert [frame for frame, _ in method.asked] == [2, 2, 3, 0, 1, 2]  # all were corrected: the worst again
    assert [each.number for each in done] == [1, 2, 3, 4, 5, 6]
    assert [each.seconds for each in done] == [5.0] * 6
    assert done[0].given == (0, 0, 1) and done[2].given == (3, 0, 1)
    assert done[0].scores.j[:, 0] == pytest.approx([0.7, 0.9, 0.1, 0.5])
    assert [frame for frame, _ in method.asked] == [each.frame for each in done]


def test_a_frame_that_counts_as_corrected_waits() -> None:
    method = Method(Clock(), partly(3, 1, 9, 5))
    session(method, interactions=5, used=[2])
    assert [frame for frame, _ in method.asked] == [2, 3, 0, 1, 2]


def test_candidates_bound_the_choice_even_where_all_are_used() -> None:
    method = Method(Clock(), partly(3, 1, 9, 5))
    method.candidates = (1, 0)
    session(method, interactions=4)
    assert [frame for frame, _ in method.asked] == [2, 0, 1, 0]


def test_equals_are_corrected_in_order() -> None:
    method = Method(Clock(), partly(2, 2, 2, 2))
    session(method, interactions=4)
    assert [frame for frame, _ in method.asked] == [2, 0, 1, 2]


@pytest.mark.parametrize(
    ("limit", "counted", "asked"),
    [
        (5.0, 1, 1),  # the answer comes at 5.0, the next question would at 6.0
        (6.0, 1, 2),  # asked at exactly 6.0, answered too late
        (11.0, 2, 2),  # answered at exactly 11.0; the annotator is ready at 12.0, too late to ask
        (4.9, 0, 1),
    ],
)
def test_time_runs_out(limit: float, counted: int, asked: int) -> None:
    method = Method(Clock(), partly(1, 1, 1, 1))
    done = session(method, interactions=5, max_seconds=limit)
    assert (len(done), len(method.asked)) == (counted, asked)


class Runner:
    """Stands in for the interactive runner: notes what is called; a mask is the number of the call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.masks = np.zeros((4, 20, 20), np.uint8)

    def scribble(self, frame: int, strokes: np.ndarray) -> np.ndarray:
        self.calls.append(("scribble", frame))
        self.masks = self.masks.copy()
        self.masks[frame] = 1
        return self.masks[frame]

    def click(self, frame: int, x: int, y: int, label: int) -> np.ndarray:
        self.calls.append(("click", frame, x, y, label))
        return self.masks[frame]

    def interact(self, frame: int, mask: np.ndarray) -> np.ndarray:
        self.calls.append(("interact", frame, int(mask[0, 0])))
        self.masks = np.ones_like(self.masks)
        return self.masks


def answers(schedule: Schedule, given: list[tuple[int, Any]]) -> tuple[list[Answer], Runner]:
    runner = Runner()
    method = ScheduledRunner(lambda: runner, schedule)
    return [method(frame, strokes) for frame, strokes in given], runner


STROKES = np.zeros((20, 20), np.int16)


def test_mivos_propagates_after_the_third_sixth_and_eighth_interaction() -> None:
    frames = [5, 5, 5, 1, 1, 1, 3, 3]
    done, runner = answers(MIVOS, [(frame % 4, STROKES) for frame in frames])
    kinds = "".join(call[0][0] for call in runner.calls)
    assert kinds == "sssi" + "sssi" + "ssi"
    assert [each.candidates for each in done] == [(1,), (1,), None, (1,), (1,), None, (3,), None]
    assert done[1].masks[1].any() and not done[1].masks[[0, 2, 3]].any()  # one frame's mask only
    assert done[2].masks.all()


def test_without_input_a_scheduled_propagation_still_takes_place() -> None:
    done, runner = answers(MIVOS, [(2, STROKES), (2, None), (2, None), (0, None), (0, None), (0, None)])
    assert runner.calls == [("scribble", 2), ("interact", 2, 1)]
    assert done[5].candidates is None and np.array_equal(done[5].masks, done[2].masks)
    _, runner = answers(MIVOS, [(2, None)] * 3)
    assert runner.calls == []


def test_every_interaction_propagates_what_it_was_given() -> None:
    done, runner = answers(EVERY, [(2, STROKES), (1, None), (0, Click(3, 7, 1))])
    assert runner.calls == [("scribble", 2), ("interact", 2, 1), ("click", 0, 3, 7, 1), ("interact", 0, 1)]
    assert all(each.candidates is None for each in done)
