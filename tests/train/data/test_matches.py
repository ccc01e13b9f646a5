"""Cells that show the same point."""

import numpy as np
import pytest
import torch

from train.data.augment import SampleView
from train.data.matches import CELL, NONE, still_matches, track_matches
from train.data.stills import StillMotion, moved_maps
from train.losses import point_loss
from vosforge.videos.passes import Tracks

SIDE = 8 * CELL
UNMOVED = StillMotion(scale=(1.0, 1.0), shift=0.0, spline=0.0)


def shifted(x: float, y: float = 0.0, scale: float = 1.0) -> SampleView:
    return SampleView(np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]]), [])


def test_cells_of_a_moved_still_match_those_they_came_from() -> None:
    """The second view looks two cells further right, the third one cell further down."""
    views = [shifted(0), shifted(2 * CELL), shifted(0, CELL)]
    maps = moved_maps(views, SIDE, UNMOVED, np.random.default_rng(0))
    masks = np.zeros((3, SIDE, SIDE), np.uint8)
    found = still_matches(maps, masks).reshape(3, 8, 8)
    cells = np.arange(64).reshape(8, 8)
    assert (found[0] == NONE).all()
    assert np.array_equal(found[1, :, :6], cells[:, 2:]) and (found[1, :, 6:] == NONE).all()
    assert np.array_equal(found[2, :7], cells[1:]) and (found[2, 7:] == NONE).all()
    masks[1, :, : SIDE // 2] = 3  # pasted over half of the second frame
    covered = still_matches(maps, masks).reshape(3, 8, 8)
    assert (covered[1, :, :4] == NONE).all() and np.array_equal(covered[1, :, 4:6], cells[:, 6:])


@pytest.mark.parametrize("seed", range(4))
def test_random_moves_match_within_a_cell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    views = [shifted(*rng.uniform(-20, 20, 2), rng.uniform(0.4, 1.2)) for _ in range(2)]
    maps = moved_maps(views, SIDE, StillMotion(spline=1.0), rng)
    found = still_matches(maps, np.zeros((2, SIDE, SIDE), np.uint8))[1]
    matched = np.flatnonzero(found != NONE)
    assert len(matched) > 4
    for cell in matched:
        here, there = (
            [m[cell // 8 * CELL + 8, cell % 8 * CELL + 8] for m in maps[1]],
            [m[found[cell] // 8 * CELL + 8, found[cell] % 8 * CELL + 8] for m in maps[0]],
        )
        assert np.hypot(*np.subtract(here, there)) < 1.6 * CELL * views[0].to_frame[0, 0]


def test_points_match_where_both_frames_show_them() -> None:
    """Three points move a cell to the right between two frames, seen through crops that differ by half a cell."""
    first = np.array([[24.0, 40.0], [56.0, 40.0], [120.0, 100.0]], np.float32)
    points = np.stack([first, first + np.array([CELL, 0])]).astype(np.float32)
    occluded = np.zeros((2, 3), bool)
    tracks = Tracks(points, occluded, np.array([1, 2, 1], np.uint8))
    views = [shifted(0), shifted(0.5 * CELL)]
    masks = np.zeros((2, SIDE, SIDE), np.uint8)
    for t, view in enumerate(views):
        for point, label in zip(points[t], tracks.object, strict=True):
            x, y = (point - view.to_frame[:2, 2]).astype(int)
            masks[t, y - 2 : y + 3, max(x - 2, 0) : x + 3] = label

    def expected(*pairs: tuple[tuple[int, int], tuple[int, int]]) -> np.ndarray:
        found = np.full((2, 64), NONE)
        for (row, column), (row0, column0) in pairs:
            found[1, row * 8 + column] = row0 * 8 + column0
        return found

    one, two = ((2, 2), (2, 1)), ((2, 4), (2, 3))
    assert np.array_equal(track_matches(tracks, [0, 1], views, masks), expected(one, two))  # the third left the crop
    occluded[0, 0] = True
    assert np.array_equal(track_matches(tracks, [0, 1], views, masks), expected(two))
    masks[1][masks[1] == 2] = 9  # pasted over
    assert np.array_equal(track_matches(tracks, [0, 1], views, masks), expected())


def test_point_loss_is_the_cross_entropy_of_the_matches() -> None:
    similarity = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    matches = torch.tensor([[NONE, 3, NONE, 6, 0], [NONE] * 5], dtype=torch.int16)
    present = torch.tensor([[True, False, True], [True, True, True]])
    losses = -torch.log_softmax(similarity, dim=3)
    expected = torch.stack([losses[0, k, q, matches[0, q].long()] for k in (0, 2) for q in (1, 3, 4)]).mean()
    torch.testing.assert_close(point_loss(similarity, matches, present), expected)
    shared = point_loss(similarity[:, :1], matches, present)
    torch.testing.assert_close(shared, losses[0, 0, [1, 3, 4], [3, 6, 0]].mean())
    assert point_loss(similarity, torch.full_like(matches, NONE), present) == 0
