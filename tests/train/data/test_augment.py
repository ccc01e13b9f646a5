from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.data.augment import (
    FILL,
    Augmentation,
    Geometry,
    Jitter,
    apply_colour,
    colour_matrix,
    sample_views,
    sample_window,
    see_frame,
    warp_image,
    warp_mask,
)

OPENCV = tuple(map(int, cv2.__version__.split(".")[:2]))


class Clip(NamedTuple):
    frames: np.ndarray
    masks: np.ndarray


def augmented(frames: Any, masks: Any, how: Augmentation, rng: np.random.Generator) -> Clip:
    """All frames and masks of a sample."""
    size, crop = masks[0].shape, how.geometry.crop
    views = sample_views(size, len(frames), how, rng)
    seen = [
        see_frame(lambda r, f=frame: f[r.top : r.bottom, r.left : r.right], size, view, how.geometry)
        for frame, view in zip(frames, views, strict=True)
    ]
    labels = [warp_mask(mask, view.to_frame, crop) for mask, view in zip(masks, views, strict=True)]
    return Clip(np.stack(seen), np.stack(labels))


GEOMETRIES = [
    Geometry(crop=64, area=(0.25, 1.0), rotation=15, shear=10, cubic=False),
    Geometry(crop=48, short_side=64, zoom=(0.8, 1.25), rotation=20, shear=10),
    Geometry(crop=160, flip=1.0),
]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(GEOMETRIES))
def test_image_and_mask_stay_aligned(seed: Any, geometry: Any) -> None:
    """Paint the mask into the image: after augmentation each pixel away from edges still has its label's colour."""
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.integers(0, 3, (5, 7)), np.ones((20, 20))).astype(np.uint8)
    colours = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)
    clip = augmented([colours[mask]] * 2, [mask] * 2, Augmentation(geometry=geometry), rng)
    assert clip.frames.shape == (2, geometry.crop, geometry.crop, 3)
    assert clip.frames.dtype == clip.masks.dtype == np.uint8
    for image, labels in zip(clip.frames, clip.masks, strict=True):
        distance = np.abs(image[:, :, None].astype(int) - [*colours, FILL]).sum(axis=3)
        pure = distance.min(axis=2) < 12
        nearest = distance.argmin(axis=2)
        nearest[nearest == 3] = 0
        assert pure.mean() > 0.5
        # Nearest labels and interpolated colours may part by a rounding at an edge, never by a shift.
        assert (nearest == labels)[pure].mean() > 0.995


def test_the_same_draws_give_the_same_clip() -> None:
    frames = [np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)] * 3
    masks = [np.random.default_rng(1).integers(0, 4, (50, 70), np.uint8)] * 3
    setting = Augmentation(geometry=GEOMETRIES[0], shared_colour=Jitter(brightness=0.2), frame_colour=Jitter(hue=0.1))
    one, two, other = (augmented(frames, masks, setting, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(one.frames, two.frames) and np.array_equal(one.masks, two.masks)
    assert not np.array_equal(one.frames, other.frames)


def test_identity_and_flip_are_exact() -> None:
    rng = np.random.default_rng(2)
    frame, mask = rng.integers(0, 256, (48, 48, 3), np.uint8), rng.integers(0, 9, (48, 48), np.uint8)
    same = augmented([frame], [mask], Augmentation(geometry=Geometry(crop=48, flip=0.0)), rng)
    assert np.array_equal(same.frames[0], frame) and np.array_equal(same.masks[0], mask)
    mirrored = augmented([frame], [mask], Augmentation(geometry=Geometry(crop=48, flip=1.0)), rng)
    assert np.array_equal(mirrored.frames[0], frame[:, ::-1]) and np.array_equal(mirrored.masks[0], mask[:, ::-1])


def test_outside_the_frame_is_fill_and_background() -> None:
    frame, mask = np.zeros((20, 20, 3), np.uint8), np.ones((20, 20), np.uint8)
    clip = augmented([frame], [mask], Augmentation(geometry=Geometry(crop=64, flip=0)), np.random.default_rng(0))
    outside = clip.masks[0] == 0
    assert np.count_nonzero(~outside) == 400
    assert (clip.frames[0][outside] == FILL).all(axis=1).mean() > 0.95  # but for the frame's blended rim


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(GEOMETRIES), st.integers(20, 90), st.integers(20, 200))
def test_reading_what_is_seen_gives_what_the_whole_frame_gives(
    seed: int, geometry: Any, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (height, width, 3), np.uint8)
    (view,) = sample_views((height, width), 1, Augmentation(geometry=geometry), rng)
    areas = []

    def read(region: Any) -> Any:
        areas.append((region.bottom - region.top) * (region.right - region.left))
        return frame[region.top : region.bottom, region.left : region.right]

    seen = see_frame(read, (height, width), view, geometry)
    whole = warp_image(frame, view.to_frame, geometry.crop, geometry.cubic)
    # OpenCV no longer rounds places since 4.12, so that a value between two steps may become either.
    assert np.abs(seen.astype(int) - whole).max() <= (OPENCV >= (4, 12))
    assert len(areas) == 1 and areas[0] <= height * width


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 149), st.floats(0, 99), st.sampled_from(GEOMETRIES[:2]))
def test_the_anchor_is_in_the_crop(seed: Any, x: Any, y: Any, geometry: Any) -> None:
    window = sample_window(100, 150, geometry, np.random.default_rng(seed), (x, y))
    inside = np.linalg.inv(window) @ [x, y, 1]
    assert (inside[:2] >= -1e-9).all() and (inside[:2] <= geometry.crop + 1e-9).all()


@pytest.mark.parametrize("area", [(0.25, 0.25), (1.0, 1.0)])
def test_area_is_the_share_of_the_frame_that_is_seen(area: Any) -> None:
    window = sample_window(100, 120, Geometry(crop=64, area=area), np.random.default_rng(1))
    seen = abs(np.linalg.det(window[:2, :2])) * 64 * 64 / (100 * 120)
    assert seen == pytest.approx(area[0], rel=0.2)


def test_colour_matrices() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (9, 9, 3), np.uint8)
    assert np.array_equal(apply_colour(image, [colour_matrix(Jitter(), rng)]), image)
    grey = apply_colour(image, [colour_matrix(Jitter(grey=1.0), rng)])
    assert np.ptp(grey, axis=2).max() <= 1
    expected = image.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(grey[..., 0] - expected).max() <= 1
    neutral = np.full((4, 4, 3), 90, np.uint8)
    assert np.ptp(apply_colour(neutral, [colour_matrix(Jitter(hue=0.5, saturation=0.5), rng)]), axis=2).max() <= 1


def test_warps_share_their_geometry() -> None:
    plane = np.random.default_rng(0).integers(0, 2, (40, 40), np.uint8) * 200
    window = sample_window(40, 40, Geometry(crop=32), np.random.default_rng(3))
    image = warp_image(np.repeat(plane[..., None], 3, axis=2), window, 32, cubic=False)
    assert image.shape == (32, 32, 3)
    assert warp_mask(plane, window, 32).shape == (32, 32)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(20, 200), st.integers(20, 200))
def test_labels_of_an_upright_crop_are_those_under_its_pixel_centres(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 256, (height, width), np.uint8)
    window = sample_window(height, width, Geometry(crop=64, area=(0.3, 1.0)), rng)
    centres = window @ np.array([[x + 0.5, x + 0.5, 1] for x in range(64)]).T
    columns, rows = centres[0], centres[1]
    # A centre that falls on the edge of two pixels may be either's.
    clear = [np.abs(at - np.round(at)) > 1e-6 for at in (columns, rows)]
    found = warp_mask(mask, window, 64)
    at_rows, at_columns = (np.clip(np.floor(at), 0, n - 1).astype(int) for at, n in ((rows, height), (columns, width)))
    expected = mask[at_rows][:, at_columns]
    assert np.array_equal(found[clear[1]][:, clear[0]], expected[clear[1]][:, clear[0]])
