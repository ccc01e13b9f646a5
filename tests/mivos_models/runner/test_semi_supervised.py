"""Masks carried from where objects first appear, in small and by what is remembered."""

import numpy as np
import pytest
import torch

from mivos_models import STCN, InteractiveRunner, Propagation, SmallPropagation, SpaceTimeNetwork, propagate
from mivos_models.networks.aggregate import aggregate
from tests.mivos_models.networks.test_own_goldens import moving_squares
from tests.mivos_models.runner.test_runner import Recorder, numbered_frames
from vosforge import InputError


@pytest.fixture(scope="module", params=[(Propagation, 18, 0.125), (STCN, 18, 0.125), (SmallPropagation,)])
def network(request) -> SpaceTimeNetwork:
    torch.manual_seed(3)
    kind, *size = request.param
    return kind(*size).eval()


def test_one_mask_is_carried_as_the_runner_carries_it(network: SpaceTimeNetwork) -> None:
    frames, masks = moving_squares(8, 48, 64, 2)
    for short_side, limit in ((None, 1e-4), (32, 0.05)):  # reduced, given masks are soft, and aggregated here
        carried = propagate(frames, masks[0], network, short_side=short_side)
        assert carried.shape == masks.shape and carried.dtype == np.uint8
        runner = InteractiveRunner(network, frames, 2, short_side=short_side)
        assert (carried != runner.interact(0, masks[0])).mean() < limit
        assert np.array_equal(carried[0], masks[0]) and carried[1:].any()


def test_labels_stay_and_may_have_gaps(network: SpaceTimeNetwork) -> None:
    frames, masks = moving_squares(4, 48, 64, 2)
    carried = propagate(frames, masks[0], network)
    named = np.array([0, 7, 200], np.uint8)
    assert np.array_equal(propagate(frames, named[masks[0]], network), named[carried])


def mask(*columns: int) -> np.ndarray:
    """Object j in the j-th of these columns, 16 by 16."""
    result = np.zeros((16, 16), np.uint8)
    for label, column in columns:
        result[:, column] = label
    return result


def test_each_object_is_remembered_from_its_own_first_frame_on() -> None:
    network = Recorder()
    done: list[tuple[int, int]] = []
    masks = propagate(
        numbered_frames(9),
        mask((1, 2), (2, 5)),
        network,
        later={4: mask((3, 9))},
        mem_every=3,
        progress=lambda n, of: done.append((n, of)),
    )
    # Frame 4 is segmented for the first two, and again for all that follow it, by two memories.
    assert network.reads[:4] == [(1, [0]), (2, [0, 1]), (3, [0, 2]), (4, [0, 3])]
    assert network.reads[4:] == [
        (5, [0, 3, 4]),
        (5, [4]),
        (6, [0, 3, 4, 5]),
        (6, [4, 5]),
        (7, [0, 3, 4, 6]),
        (7, [4, 6]),
        (8, [0, 3, 4, 7]),
        (8, [4, 7]),
    ]
    assert [number for number, _ in network.memorised] == list(range(8)), "the last frame is of no use"
    assert [given.shape[1] for _, given in network.memorised] == [2] * 4 + [3] * 4
    assert (masks[4][:, 9] == 3).all() and (masks[0][:, [2, 5]] == [1, 2]).all() and done[-1] == (9, 9)


def test_a_video_without_objects_at_first(network: SpaceTimeNetwork) -> None:
    frames, masks = moving_squares(5, 48, 64, 1)
    found = propagate(frames, np.zeros_like(masks[0]), network, later={2: masks[2]})
    assert not found[:2].any() and np.array_equal(found[2], masks[2])
    assert not propagate(frames, np.zeros_like(masks[0]), network).any()


def test_wrong_masks_are_named(network: SpaceTimeNetwork) -> None:
    frames, masks = moving_squares(3, 48, 64, 1)
    for first, later, message in (
        (masks[0], {3: masks[0]}, r"no frame 3: the video has frames 0\.\.2"),
        (masks[0], {1: masks[1]}, "frame 1 shows object 1, which has a mask at an earlier frame"),
        (masks[0][1:], None, "the mask of frame 0 must be labels"),
        (masks[0] / 2, None, "must be labels"),
    ):
        with pytest.raises(InputError, match=message):
            propagate(frames, first, network, later=later)
    with pytest.raises(InputError, match="frames must be uint8"):
        propagate(frames[0], masks[0], network)
    with pytest.raises(ValueError, match="in training mode"):
        propagate(frames, masks[0], Propagation(18, 0.125))


def test_old_objects_are_aggregated_before_and_after_new_ones_enter(
    network: SpaceTimeNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, masks = moving_squares(3, 48, 64, 2)
    seen: list[torch.Tensor] = []

    def recorded(found: torch.Tensor) -> torch.Tensor:
        seen.append(found.clone())
        return aggregate(found)

    monkeypatch.setattr("mivos_models.runner.semi_supervised.aggregate", recorded)
    propagate(frames, np.where(masks[0] == 1, masks[0], 0), network, later={1: np.where(masks[1] == 2, masks[1], 0)})
    _, segmented, both, _ = seen
    assert [len(each) for each in seen] == [1, 1, 2, 2]
    assert torch.equal(both[:1], aggregate(segmented)[1:] * (both[1] <= 0.5))
