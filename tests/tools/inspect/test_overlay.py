import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.utils import draw_segmentation_masks

from tools.inspect import overlay as ov


def picture(seed: int, height: int, width: int, num_objects: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    coarse = rng.integers(0, num_objects + 1, (height // 4 + 1, width // 4 + 1), dtype=np.uint8)
    return frame, np.kron(coarse, np.ones((4, 4), np.uint8))[:height, :width]


def slow_outline(mask: np.ndarray, reach: int) -> np.ndarray:
    edge = np.zeros(mask.shape, bool)
    for y, x in itertools.product(*map(range, mask.shape)):
        for step, (dy, dx) in itertools.product(range(1, reach + 1), ((0, 1), (1, 0), (0, -1), (-1, 0))):
            v, u = y + step * dy, x + step * dx
            if 0 <= v < mask.shape[0] and 0 <= u < mask.shape[1] and mask[v, u] != mask[y, x] and mask[y, x]:
                edge[y, x] = True
    return edge


def test_palette_is_that_of_voc() -> None:
    expected = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 7: (128, 128, 128)}
    expected |= {8: (64, 0, 0), 16: (0, 64, 0), 20: (0, 64, 128), 21: (128, 64, 128), 255: (224, 224, 192)}
    assert {index: tuple(ov.PALETTE[index].tolist()) for index in expected} == expected
    assert len(np.unique(ov.PALETTE, axis=0)) == 256


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), height=st.integers(1, 40), width=st.integers(1, 40), alpha=st.floats(0.2, 1))
def test_overlay_colours_objects_and_leaves_the_background(seed: int, height: int, width: int, alpha: float) -> None:
    frame, mask = picture(seed, height, width)
    before = frame.copy()
    shown = ov.overlay(frame, mask, alpha)
    assert shown.dtype == np.uint8 and shown.shape == frame.shape
    np.testing.assert_array_equal(frame, before)
    np.testing.assert_array_equal(shown[mask == 0], frame[mask == 0])
    edge = slow_outline(mask, 1)
    np.testing.assert_array_equal(ov.outline(mask), edge)
    np.testing.assert_array_equal(shown[edge], ov.LINE_PALETTE[mask[edge]])
    inside = (mask > 0) & ~edge
    exact = (1 - alpha) * frame[inside] + alpha * ov.PALETTE[mask[inside]]
    assert np.abs(shown[inside] - exact).max(initial=0) <= 0.5 + 1e-3


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), alpha=st.sampled_from([0.3, 0.5, 1.0]))
def test_objects_are_tinted_as_torchvision_tints_them(seed: int, alpha: float) -> None:
    frame, mask = picture(seed, 30, 41)
    planes = torch.from_numpy(mask == np.arange(1, 5)[:, None, None])
    colours = [tuple(colour) for colour in ov.PALETTE[1:5].tolist()]
    drawn = draw_segmentation_masks(torch.from_numpy(frame).movedim(2, 0), planes, alpha, colours)
    expected = drawn.movedim(0, 2).numpy().astype(int)
    inside = ~ov.outline(mask)
    assert np.abs(ov.overlay(frame, mask, alpha) - expected)[inside].max() <= 1  # it cuts off where we round


def test_outlines_of_large_masks_are_two_pixels_wide() -> None:
    mask = np.zeros((400, 402), np.uint8)
    mask[100:110, 200:212] = 3
    window = slice(90, 120), slice(190, 222)
    np.testing.assert_array_equal(ov.outline(mask)[window], slow_outline(mask[window], 2))
    assert ov.outline(mask).sum() == 10 * 12 - 6 * 8


def test_overlay_refuses_a_mask_of_another_size() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        ov.overlay(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8))


def test_scribbles_show_their_labels_and_nothing_else_changes() -> None:
    frame, _ = picture(1, 60, 80)
    scribbles = np.full((60, 80), -1, np.int16)
    scribbles[10, 5:30], scribbles[30, 20:60], scribbles[50, 40] = 0, 2, 5
    shown = ov.draw_scribbles(frame, scribbles)
    for label in (0, 2, 5):
        assert (shown[scribbles == label] == ov.LINE_PALETTE[label]).all()
    rows, columns = np.nonzero(scribbles >= 0)
    y, x = np.mgrid[:60, :80]
    far = (np.maximum(abs(y[..., None] - rows), abs(x[..., None] - columns)) > 3).all(-1)
    np.testing.assert_array_equal(shown[far], frame[far])
    np.testing.assert_array_equal(ov.draw_scribbles(frame, np.full((60, 80), -1)), frame)


def test_shrinking_keeps_labels_whole_and_never_enlarges() -> None:
    frame, mask = picture(2, 101, 203, 200)
    small, labels = ov.shrink(frame, 64), ov.shrink_labels(mask, 64)
    assert small.shape == (32, 64, 3) and labels.shape == (32, 64) and labels.dtype == np.uint8
    assert set(np.unique(labels)) <= set(np.unique(mask))
    np.testing.assert_array_equal(ov.shrink(frame, 500), frame)
    np.testing.assert_array_equal(ov.shrink_labels(mask, 500), mask)


def test_contact_sheet_holds_every_tile_and_its_caption() -> None:
    tiles = [[picture(10 * r + c, 30, 50)[0] for c in range(3)] for r in range(2)]
    sheet = ov.contact_sheet(tiles, [["", "", ""], ["one", "", "a caption far too long for its tile"]])
    for r, row in enumerate(tiles):
        for c, tile in enumerate(row):
            top, left = 6 + r * 36, 6 + c * 56
            np.testing.assert_array_equal(sheet[top : top + 30, left : left + 50], tile)
    below = sheet[6 + 36 + 30 :]
    written = (below != ov.SHEET_BACKGROUND).any((0, 2))
    assert written[6:56].any() and not written[60:112].any() and written[118:168].any() and not written[170:].any()
    with pytest.raises(ValueError, match="one label"):
        ov.contact_sheet(tiles, [["a"], ["b"]])
    with pytest.raises(ValueError, match="at least one"):
        ov.contact_sheet([[]], [[]])


@given(total=st.integers(0, 300), count=st.integers(1, 80))
def test_evenly_spaced_indices_span_the_video(total: int, count: int) -> None:
    chosen = ov.evenly_spaced(total, count)
    assert len(chosen) == min(total, count) and len(set(chosen)) == len(chosen)
    if len(chosen) > 1:
        steps = np.diff(chosen)
        assert (chosen[0], chosen[-1]) == (0, total - 1) and steps.max() - steps.min() <= 1
