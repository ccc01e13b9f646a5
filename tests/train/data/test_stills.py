"""Clips made of stills."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from train.data.augment import Augmentation, Geometry, SampleView, sample_views
from train.data.clips import ClipDataset
from train.data.sources import Mix, OpenSource
from train.data.stills import StillMotion, deformed, moved_maps, spline_moves, still_frames, still_mask
from train.settings import PropagationSettings
from vosforge.videos.video import MemoryVideo

UNMOVED = StillMotion(scale=(1.0, 1.0), shift=0.0, spline=0.0)
GEOMETRY = Geometry(crop=64, short_side=64, flip=0.0, cubic=False)
COLOURS = np.array([[10, 30, 50], [200, 90, 20], [40, 220, 120]], np.uint8)


def blocks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image whose colours say which label each pixel has, and its mask."""
    small = np.random.default_rng(seed).integers(0, 3, (5, 6)).astype(np.uint8)
    mask = cv2.resize(small, (96, 80), interpolation=cv2.INTER_NEAREST)
    return COLOURS[mask], mask


def still_dataset(motion: StillMotion, frames: int = 4, flip: float = 0.0) -> ClipDataset:
    image, mask = blocks(0)
    still = MemoryVideo("still", image[None], mask[None])
    run = PropagationSettings(
        iterations=8,
        batch=1,
        frames=frames,
        motion=motion,
        augmentation=Augmentation(geometry=GEOMETRY.model_copy(update={"flip": flip})),
    )
    return ClipDataset(Mix([OpenSource([still], stills=True)]), run)


@pytest.mark.parametrize("frames", [2, 3, 8])
def test_a_still_that_does_not_move_gives_equal_frames(frames: int) -> None:
    data = still_dataset(UNMOVED, frames)
    for index in range(4):
        clip = data[index]
        assert clip.frames.shape == (frames, 3, 64, 64)
        assert (clip.frames == clip.frames[:1]).all() and (clip.labels == clip.labels[:1]).all()


def test_an_unmoved_map_is_the_identity() -> None:
    image, mask = blocks(1)
    views = [SampleView(np.eye(3), [])] * 2
    maps = moved_maps(views, 64, UNMOVED, np.random.default_rng(0))
    for frame, where in zip(still_frames(image, maps, views, cubic=False), maps, strict=True):
        assert np.array_equal(frame, image[:64, :64])
        assert np.array_equal(still_mask(mask, where), mask[:64, :64])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 0.03), st.floats(0, 25), st.floats(0, 0.3))
def test_image_and_mask_move_together(seed: int, spline: float, sigma: float, angle: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    image, mask = blocks(seed % 7)
    motion = StillMotion(spline=spline, sigma=sigma, shift=shift)
    geometry = GEOMETRY.model_copy(update={"rotation": angle, "shear": angle / 2, "flip": 0.5})
    views = sample_views(mask.shape, 3, Augmentation(geometry=geometry), rng)
    maps = moved_maps(views, 64, motion, rng)
    for frame, where in zip(still_frames(image, maps, views, cubic=False), maps, strict=True):
        labels = still_mask(mask, where)
        # Where the still has one label all around, and inside the still, the colour is that of the label.
        uniform = cv2.erode(mask, np.ones((5, 5))) == cv2.dilate(mask, np.ones((5, 5)))
        same = still_mask(uniform.astype(np.uint8), where) == 1
        x, y = where
        within = (x > 1) & (x < 94) & (y > 1) & (y < 78)
        at = same & within
        at[[0, 1, -2, -1]] = at[:, [0, 1, -2, -1]] = False
        assert np.abs(frame[at].astype(int) - COLOURS[labels[at]]).max(initial=0) <= 1
        assert not labels[(x < -1) | (y < -1) | (x > 96) | (y > 80)].any()


def test_splines_are_smooth_and_as_large_as_published() -> None:
    moves = np.stack([spline_moves(96, StillMotion(), np.random.default_rng(seed)) for seed in range(20)])
    middle = moves[:, 24:72, 24:72] / 96
    assert 0.005 < middle.std() < 0.04
    assert np.abs(np.diff(moves[:, 24:72, 24:72], axis=1)).max() < 1  # pixels to a pixel: nothing folds


def test_moving_stills_differ_and_depend_on_the_index_only() -> None:
    one, other = still_dataset(StillMotion(spline=1.0), flip=0.5), still_dataset(StillMotion(spline=1.0), flip=0.5)
    later = one[5]
    assert all(torch.equal(a, b) for a, b in zip(other[5], later, strict=True))
    assert len({frame.numpy().tobytes() for frame in later.frames}) == 4
    assert not torch.equal(one[4].frames, later.frames)


def test_stills_of_a_video_are_its_frames(make_video: Any) -> None:
    video = make_video(0, num_frames=5)
    run = PropagationSettings(iterations=20, batch=1, motion=UNMOVED, augmentation=Augmentation(geometry=GEOMETRY))
    data = ClipDataset(Mix([OpenSource([video], stills=True)]), run)
    clips = [data[index] for index in range(20)]
    assert all((clip.labels == clip.labels[:1]).all() for clip in clips)
    assert len({clip.labels.numpy().tobytes() for clip in clips}) > 5


def test_a_deformed_mask_keeps_its_labels_and_nearly_its_place() -> None:
    mask = np.zeros((224, 224), np.uint8)
    mask[40:160, 50:120], mask[150:200, 130:200] = 1, 7
    overlaps = []
    for seed in range(20):
        found = deformed(mask, np.random.default_rng(seed))
        assert found.shape == mask.shape and found.dtype == np.uint8 and set(np.unique(found)) <= {0, 1, 7}
        assert np.array_equal(found, deformed(mask, np.random.default_rng(seed)))
        overlaps += [((found == k) & (mask == k)).sum() / ((found == k) | (mask == k)).sum() for k in (1, 7)]
    assert np.min(overlaps) > 0.5 and 0.7 < np.mean(overlaps) < 0.97


def test_a_share_of_the_clips_are_moved_frames_and_a_given_mask_may_be_wrong() -> None:
    image, mask = blocks(0)
    moving = MemoryVideo("moving", np.stack([np.roll(image, 9 * t, axis=1) for t in range(6)]), np.stack([mask] * 6))
    plain = PropagationSettings(iterations=30, batch=1, augmentation=Augmentation(geometry=GEOMETRY), motion=UNMOVED)
    run = plain.model_copy(update={"still_share": 0.5, "deform": 0.5, "degrade": 0.5})
    clips = [ClipDataset([moving], run.model_copy(update={"degrade": 0.0, "deform": 0.0}))[n] for n in range(30)]
    stills = sum(bool((clip.frames == clip.frames[:1]).all()) for clip in clips)
    assert 8 <= stills <= 22
    rough = [ClipDataset([moving], run.model_copy(update={"degrade": 0.0}))[n] for n in range(30)]
    pairs = list(zip(clips, rough, strict=True))
    assert all((a.frames == b.frames).all() and (a.labels[1:] == b.labels[1:]).all() for a, b in pairs)
    assert 8 <= sum(bool((a.labels[0] != b.labels[0]).any()) for a, b in pairs) <= 22
    noisy = [ClipDataset([moving], run.model_copy(update={"deform": 0.0}))[n] for n in range(30)]
    changed = [bool((a.frames != b.frames).any()) for a, b in zip(clips, noisy, strict=True)]
    assert all((a.labels == b.labels).all() for a, b in zip(clips, noisy, strict=True)) and any(changed)
