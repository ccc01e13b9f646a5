"""A correction changes only what a stroke touches."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mivos_models.networks.s2m import merged
from vosforge.seeding import rng_for


def square(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((40, 60), np.uint8)
    for label, (top, bottom, left, right) in enumerate(boxes, start=1):
        mask[top:bottom, left:right] = label
    return mask


def stroke(y: int, x: int) -> np.ndarray:
    drawn = np.zeros((1, 2, 40, 60), bool)
    drawn[0, 0, y, x] = True
    return drawn


def test_regions_without_a_stroke_stay() -> None:
    old = square((5, 25, 5, 25))
    new = old.copy()
    new[5:25, 25:35] = 1  # grown to the right, where the stroke is
    new[5:12, 5:12] = 0  # and bitten off at the left
    found = merged(old, new, stroke(10, 30))
    assert (found[5:25, 5:35] == 1).all() and found.sum() == 20 * 30


def test_a_first_mask_is_taken_whole() -> None:
    new = square((5, 25, 5, 25), (30, 35, 40, 50))
    assert np.array_equal(merged(np.zeros_like(new), new, stroke(10, 10)), new)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10_000))
def test_every_pixel_is_old_or_new_and_new_where_a_stroke_is(seed: int) -> None:
    rng = rng_for("merged", seed)
    old, new = (rng.integers(0, 3, (12, 16), dtype=np.uint8) for _ in range(2))
    strokes = rng.random((2, 2, 12, 16)) < 0.03
    found = merged(old, new, strokes)
    assert ((found == old) | (found == new)).all()
    drawn = strokes.any(axis=(0, 1))
    assert (found[drawn] == new[drawn]).all()
    if not drawn.any():
        assert np.array_equal(found, old)
