"""What was done is undone, redone, stopped, saved and loaded to the bit; objects, clicks and boxes."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from mivos_models import S2M, STCN, Fusion, InteractiveRunner, Propagation, SmallPropagation, SmallS2M
from tests.mivos_models.networks.test_own_goldens import moving_squares
from vosforge import InputError

T, H, W, K = 7, 40, 56, 2


@pytest.fixture(
    scope="module", params=[(Propagation, S2M, 18, 0.125), (STCN, S2M, 18, 0.125), (SmallPropagation, SmallS2M)]
)
def networks(request) -> dict[str, nn.Module]:
    torch.manual_seed(3)
    propagation, s2m, *size = request.param
    return {
        "propagation": propagation(*size).eval(),
        "s2m": s2m(*size).eval(),
        "fusion": Fusion(0.25).eval(),
    }


@pytest.fixture(scope="module")
def video() -> tuple[np.ndarray, np.ndarray]:
    return moving_squares(T, H, W, K)


def strokes_at(x: int, y: int, label: int) -> np.ndarray:
    strokes = np.full((H, W), -1)
    strokes[y - 1 : y + 2, x - 2 : x + 3] = label
    return strokes


def snapshot(runner: InteractiveRunner) -> list[np.ndarray]:
    return [runner.masks, *(runner.probabilities(t) for t in range(T))]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def actions(masks: np.ndarray) -> list[Callable[[InteractiveRunner], object]]:
    return [
        lambda runner: runner.interact(1, masks[1]),
        lambda runner: runner.scribble(4, strokes_at(20, 20, 1)),
        lambda runner: runner.interact(5, masks[5]),
        lambda runner: runner.set_mask(2, masks[3]),
        lambda runner: runner.add_object(),
        lambda runner: runner.interact(3, np.where(np.arange(W) < 9, 3, masks[3]).astype(np.uint8)),
        lambda runner: runner.refine(0, (4, 2, 40, 30), strokes_at(20, 20, 2)),
        lambda runner: runner.click(6, 30, 30, 3),
        lambda runner: runner.interact(1, masks[2]),
    ]


def test_every_step_is_undone_and_redone_to_the_bit(networks, video) -> None:
    frames, masks = video
    runner = InteractiveRunner(frames=frames, num_objects=K, **networks)
    assert not runner.undo() and not runner.redo()
    states = [snapshot(runner)]
    for act in actions(masks):
        act(runner)
        states.append(snapshot(runner))
    for before in reversed(states[:-1]):
        assert runner.undo()
        assert same(snapshot(runner), before)
    assert runner.num_objects == K and not runner.undo()
    for after in states[1:]:
        assert runner.redo()
        assert same(snapshot(runner), after)
    assert runner.num_objects == K + 1 and not runner.redo()


def test_what_follows_an_undo_is_as_if_the_undone_had_not_been(networks, video) -> None:
    frames, masks = video
    runners = [InteractiveRunner(frames=frames, num_objects=K, **networks) for _ in range(2)]
    for runner in runners:
        runner.interact(0, masks[0])
    runners[0].interact(4, masks[3])
    runners[0].undo()
    for runner in runners:
        runner.interact(6, masks[6])
    assert same(snapshot(runners[0]), snapshot(runners[1]))
    assert not runners[0].redo(), "another step was taken since"


@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_stopped_interaction_has_not_been(networks, video, after: int) -> None:
    frames, masks = video
    runner = InteractiveRunner(frames=frames, num_objects=K, **networks)
    told: list[tuple[int, int]] = []
    runner.interact(0, masks[0], progress=lambda done, total: told.append((done, total)))
    assert told == [(n, T - 1) for n in range(1, T)]
    before = snapshot(runner)

    def stop(done: int, total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.interact(4, masks[4], progress=stop)
    assert same(snapshot(runner), before)
    done = runner.interact(4, masks[4])
    undisturbed = InteractiveRunner(frames=frames, num_objects=K, **networks)
    undisturbed.interact(0, masks[0])
    assert np.array_equal(done, undisturbed.interact(4, masks[4]))
    assert runner.undo() and same(snapshot(runner), before)


def test_a_saved_session_goes_on_as_if_nothing_had_happened(networks, video, tmp_path) -> None:
    frames, masks = video
    runner = InteractiveRunner(frames=frames, num_objects=K, top_k=7, mem_every=2, **networks)
    for act in actions(masks)[:-1]:
        act(runner)
    runner.save(tmp_path / "session.pt")
    loaded = InteractiveRunner.load(tmp_path / "session.pt", frames=frames, **networks)
    assert same(snapshot(loaded), snapshot(runner)) and not loaded.undo()
    for each in (runner, loaded):
        actions(masks)[-1](each)
    assert same(snapshot(loaded), snapshot(runner))


def test_a_session_remembers_its_precision(networks, video, tmp_path) -> None:
    frames, masks = video
    runner = InteractiveRunner(frames=frames, num_objects=K, precision="reduced", **networks)
    runner.interact(1, masks[1])
    runner.save(tmp_path / "session.pt")
    InteractiveRunner.load(tmp_path / "session.pt", frames=frames, **networks).save(tmp_path / "again.pt")
    held = [torch.load(tmp_path / name, weights_only=True) for name in ("session.pt", "again.pt")]
    assert [each["precision"] for each in held] == ["reduced", "reduced"]


def test_wrong_sessions_are_named(networks, video, tmp_path) -> None:
    frames, _ = video
    path = tmp_path / "session.pt"
    InteractiveRunner(frames=frames, num_objects=K, **networks).save(path)
    with pytest.raises(InputError, match="other frames"):
        InteractiveRunner.load(path, frames=frames[::-1], **networks)
    with pytest.raises(InputError, match="another propagation network"):
        InteractiveRunner.load(path, Propagation(18, 0.125).eval(), frames)
    with pytest.raises(InputError, match="cannot read the session"):
        InteractiveRunner.load(tmp_path / "none.pt", frames=frames, **networks)
    for size in (500, 0):
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(InputError, match="is damaged, or not a session"):
            InteractiveRunner.load(path, frames=frames, **networks)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="is not a runner's session"):
        InteractiveRunner.load(path, frames=frames, **networks)


def test_an_added_object_is_as_one_that_was_there_and_unseen(networks, video) -> None:
    frames, masks = video
    first = np.where(masks[0] == 1, 1, 0).astype(np.uint8)
    grown = InteractiveRunner(networks["propagation"], frames, 1)
    grown.interact(0, first)
    assert grown.add_object() == 2
    assert not grown.probabilities(3)[2].any()
    grown.interact(4, masks[4])
    there = InteractiveRunner(networks["propagation"], frames, 2)
    there.interact(0, first)
    there.interact(4, masks[4])
    for t in (5, 6):
        np.testing.assert_allclose(grown.probabilities(t), there.probabilities(t), atol=2e-5)


def test_a_refined_box_leaves_the_rest_and_its_own_rim(networks, video) -> None:
    frames, masks = video
    runner = InteractiveRunner(frames=frames, num_objects=K, **networks)
    runner.set_mask(2, masks[2])
    found = runner.refine(2, (10, 4, 42, 36), strokes_at(24, 20, 1))
    changed = np.argwhere(found != masks[2])
    assert len(changed) and np.array_equal(found, runner.masks[2])
    assert changed.min(axis=0).tolist() >= [7, 13] and (changed.max(axis=0) < [33, 39]).all()
    for box, message in (
        ((10, 4, 60, 36), "not left, top, right, bottom inside a frame of 56×40"),
        ((10, 4, 10, 36), "not left, top"),
        ((0, 0, 8, 8), "no stroke lies in the box"),
    ):
        with pytest.raises(InputError, match=message):
            runner.refine(2, box, strokes_at(24, 20, 1))


def test_a_click_is_a_filled_circle(networks, video) -> None:
    frames, _ = video
    clicked, scribbled = (InteractiveRunner(frames=frames, num_objects=K, **networks) for _ in range(2))
    y, x = np.mgrid[:H, :W]
    circle = np.where((y - 12) ** 2 + (x - 30) ** 2 <= 16, 2, -1)
    assert np.array_equal(clicked.click(1, 30, 12, 2, radius=4), scribbled.scribble(1, circle))
    with pytest.raises(InputError, match=r"pixel \(56, 0\) lies outside the 56×40 frame"):
        clicked.click(1, 56, 0, 1)
    with pytest.raises(InputError, match=r"1\.\.2; found 3"):
        clicked.click(1, 3, 3, 3)


def test_strokes_of_each_object_may_be_given_apart(networks, video) -> None:
    frames, _ = video
    together, apart = (InteractiveRunner(frames=frames, num_objects=K, **networks) for _ in range(2))
    strokes = np.maximum(strokes_at(12, 10, 1), strokes_at(40, 30, 2))
    each = np.stack([[strokes == 1, strokes == 2], [strokes == 2, strokes == 1]])
    assert np.array_equal(together.scribble(0, strokes), apart.scribble(0, each))
    with pytest.raises(InputError, match=r"must be numbers \[2,2,40,56\]"):
        apart.scribble(0, each[:1])
